//! All orders in which the threads of a pool can meet at one job, tried one after the other.
//!
//! The model has what the real thing has: five places, each with a lock, and actors that do one thing at a time while they
//! hold the locks their code holds. Whatever an actor does without a lock is a step of its own, so that every other actor
//! gets its turn in between. The states are those of [`Life`], so a step that ought to be impossible is found here.

use std::collections::{HashSet, VecDeque};

use super::state::{JobState, Life, Step};

/// Where the box of a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Queue,
    Local,
    Running,
    /// In the hands of an actor, on its way to the end it says.
    Taken {
        by: usize,
        end: u8,
    },
    Home,
    /// Ended after its home was closed.
    Nowhere,
}

/// What a worker, its supervisor, a cancellation or the owner do, one step after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    /// `fetch`: queue to slot, with both locks.
    Fetch,
    /// `Slot::start`: local to running, with the slot's lock.
    Start,
    /// `Slot::finish`: takes the running box, with the slot's lock.
    Finish { end: u8 },
    /// `retry`: from running back to the queue, with both locks.
    Retry,
    /// Takes the box from wherever it waits or runs, with pool and slot locked.
    Cancel,
    /// Takes the box from the running place only: the supervisor, which also puts back what was local.
    GiveUp,
    /// Pushes what it has taken home, with the lock of the home; nowhere if that is closed.
    Push,
    /// Closes the home.
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    place: Place,
    state: u8,
    attempts: u16,
    open: bool,
    /// Whether the worker was given up: it fetches nothing any more.
    abandoned: bool,
    ends: u8,
    orphaned: u8,
    at: Vec<usize>,
}

fn code(state: JobState) -> u8 {
    JobState::ALL.iter().position(|known| *known == state).unwrap_or_default() as u8
}

/// The model and the machine walk together: the world is what is compared, the life what decides.
#[derive(Clone)]
struct Walk {
    world: World,
    life: Life,
}

impl Walk {
    fn step(&mut self, step: Step) {
        self.life.step(step).unwrap_or_else(|refused| panic!("{refused}: {:?}", self.world));
        self.world.state = code(self.life.state());
        self.world.attempts = self.life.attempts();
    }

    fn act(&mut self, actor: usize, act: Act) {
        let place = self.world.place;
        match act {
            Act::Fetch if place == Place::Queue && !self.world.abandoned => self.world.place = Place::Local,
            Act::Start if place == Place::Local && !self.world.abandoned => {
                self.step(Step::Start);
                self.world.place = Place::Running;
            }
            Act::Finish { end } if place == Place::Running => self.world.place = Place::Taken { by: actor, end },
            Act::Retry if place == Place::Running => {
                self.step(Step::Retry);
                self.world.place = Place::Queue;
            }
            Act::Cancel if matches!(place, Place::Queue | Place::Local | Place::Running) => {
                self.world.place = Place::Taken { by: actor, end: code(JobState::Cancelled) };
            }
            Act::GiveUp => {
                self.world.abandoned = true;
                match place {
                    Place::Running => self.world.place = Place::Taken { by: actor, end: code(JobState::TimedOut) },
                    Place::Local => self.world.place = Place::Queue,
                    _ => {}
                }
            }
            Act::Push => {
                if let Place::Taken { by, end } = place
                    && by == actor
                {
                    self.step(Step::End(JobState::ALL[usize::from(end)]));
                    self.world.ends += 1;
                    self.world.place = if self.world.open { Place::Home } else { Place::Nowhere };
                    self.world.orphaned += u8::from(!self.world.open);
                }
            }
            Act::Close => self.world.open = false,
            _ => {}
        }
    }
}

/// Tries all orders; gives how many worlds there are at the ends and in between.
fn explore(actors: &[&[Act]], at_the_end: impl Fn(&World)) -> usize {
    let mut life = Life::new();
    life.step(Step::Accept).expect("the first step of any job");
    let world = World {
        place: Place::Queue,
        state: code(JobState::Queued),
        attempts: 0,
        open: true,
        abandoned: false,
        ends: 0,
        orphaned: 0,
        at: vec![0; actors.len()],
    };
    let mut seen = HashSet::from([world.clone()]);
    let mut open = VecDeque::from([Walk { world, life }]);
    while let Some(walk) = open.pop_front() {
        let mut over = true;
        for (actor, acts) in actors.iter().enumerate() {
            let Some(act) = acts.get(walk.world.at[actor]) else { continue };
            over = false;
            let mut next = walk.clone();
            next.world.at[actor] += 1;
            next.act(actor, *act);
            assert!(next.world.ends <= 1, "ended twice: {:?}", next.world);
            if seen.insert(next.world.clone()) {
                open.push_back(next);
            }
        }
        if over {
            at_the_end(&walk.world);
        }
    }
    seen.len()
}

const WORKER: &[Act] = &[Act::Fetch, Act::Start, Act::Finish { end: 3 }, Act::Push];
const SECOND: &[Act] = &[Act::Fetch, Act::Start, Act::Finish { end: 4 }, Act::Push];
const RETRYING: &[Act] =
    &[Act::Fetch, Act::Start, Act::Retry, Act::Fetch, Act::Start, Act::Finish { end: 3 }, Act::Push];
const CANCEL: &[Act] = &[Act::Cancel, Act::Push];
const SUPERVISOR: &[Act] = &[Act::GiveUp, Act::Push];
const OWNER_GOES: &[Act] = &[Act::Close, Act::Cancel, Act::Push];

/// What must hold when nobody has anything left to do.
fn accounted(world: &World) {
    let ended = matches!(world.place, Place::Home | Place::Nowhere);
    assert_eq!(world.ends, u8::from(ended), "{world:?}");
    assert_eq!(JobState::ALL[usize::from(world.state)].is_end(), ended, "{world:?}");
    assert_eq!(world.orphaned, u8::from(world.place == Place::Nowhere), "{world:?}");
    assert!(!matches!(world.place, Place::Taken { .. }), "a box is lost: {world:?}");
    // What is left over waits for a worker that the model does not have.
    assert!(ended || world.abandoned || matches!(world.place, Place::Queue | Place::Local), "{world:?}");
}

#[test]
fn a_job_ends_once_whoever_meets_at_it() {
    for actors in [
        &[WORKER, CANCEL][..],
        &[WORKER, SUPERVISOR],
        &[WORKER, SECOND, CANCEL],
        &[WORKER, CANCEL, SUPERVISOR],
        &[WORKER, CANCEL, CANCEL, SUPERVISOR],
        &[WORKER, OWNER_GOES],
        &[WORKER, SUPERVISOR, OWNER_GOES],
        &[WORKER, CANCEL, SUPERVISOR, OWNER_GOES],
    ] {
        assert!(explore(actors, accounted) > actors.len());
    }
}

#[test]
fn an_attempt_that_is_repeated_has_one_owner_in_between() {
    for actors in [
        &[RETRYING, CANCEL][..],
        &[RETRYING, SUPERVISOR],
        &[RETRYING, CANCEL, SUPERVISOR],
        &[RETRYING, SECOND, CANCEL, OWNER_GOES],
    ] {
        assert!(explore(actors, accounted) > actors.len());
    }
}

#[test]
fn without_anybody_in_between_the_worker_brings_it_home() {
    explore(&[WORKER], |world| assert_eq!((world.place, world.state), (Place::Home, code(JobState::Done))));
    explore(&[RETRYING], |world| assert_eq!((world.place, world.attempts), (Place::Home, 2)));
}
