//! What a packet thread or a backend tells of itself while it runs, to whoever asks.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::plan::Interim;
use crate::capture::SourceStats;
use crate::plugin::InstanceReport;
use crate::time::{Stopwatch, Timestamp};

/// Questions that may wait for an engine.
const QUESTIONS: usize = 4;

/// How far an engine has come.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Number of the engine.
    pub id: u32,
    /// Packets handled.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Time of the first and last packet.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What the source delivered and dropped.
    pub source: SourceStats,
    /// How each of its plugins does.
    pub instances: Vec<InstanceReport>,
}

impl Figures {
    /// Those of a backend, which has no packets of its own.
    #[must_use]
    pub fn of_backend(id: u32, instances: Vec<InstanceReport>) -> Self {
        Self { id, packets: 0, bytes: 0, span: None, source: SourceStats::default(), instances }
    }
}

/// What is asked, and where the answer goes.
#[derive(Clone, Debug)]
pub enum Question {
    /// How far it has come.
    Figures(Sender<Figures>),
    /// What there would be to report if the run ended now.
    Interim(Sender<Interim>),
}

/// An engine's side: it looks between two batches. Looking costs a load when nobody asks.
#[derive(Clone, Debug)]
pub struct Questions(Receiver<Question>);

/// The side of whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Inquiry(Vec<Sender<Question>>);

impl Inquiry {
    /// One way to each of so many engines.
    #[must_use]
    pub fn new(engines: usize) -> (Self, Vec<Questions>) {
        let (ask, heard): (Vec<_>, Vec<_>) = (0..engines).map(|_| bounded(QUESTIONS)).unzip();
        (Self(ask), heard.into_iter().map(Questions).collect())
    }

    /// Number of engines.
    #[must_use]
    pub fn engines(&self) -> usize {
        self.0.len()
    }

    /// Asks every engine and waits for the answers, by number of the engine. An engine that is gone, or that does not come to
    /// it in this time, is missing.
    #[must_use]
    pub fn ask(&self, limit: Duration) -> Vec<Figures> {
        let mut figures = self.put(limit, Question::Figures);
        figures.sort_by_key(|figures| figures.id);
        figures
    }

    /// The same for what there would be to report if the run ended now.
    #[must_use]
    pub fn interims(&self, limit: Duration) -> Vec<Interim> {
        let mut interims = self.put(limit, Question::Interim);
        interims.sort_by_key(Interim::id);
        interims
    }

    fn put<T>(&self, limit: Duration, question: fn(Sender<T>) -> Question) -> Vec<T> {
        let since = Stopwatch::start();
        let (tell, answers) = bounded(self.0.len());
        // One whose queue is full has not answered earlier questions either.
        let asked = self.0.iter().filter(|engine| engine.try_send(question(tell.clone())).is_ok()).count();
        drop(tell);
        let next = |_| answers.recv_timeout(limit.saturating_sub(since.elapsed())).ok();
        (0..asked).map_while(next).collect()
    }
}

impl Questions {
    /// Whoever waits for an answer, if anybody does.
    #[inline]
    #[must_use]
    pub fn next(&self) -> Option<Question> {
        if self.0.is_empty() { None } else { self.0.try_recv().ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Inquiry, Question};
    use crate::capture::SourceStats;
    use std::time::Duration;

    #[test]
    fn engines_that_answer_are_heard_and_others_are_not_waited_for() {
        let (inquiry, mut heard) = Inquiry::new(2);
        let questions = heard.remove(1);
        let answering = std::thread::spawn(move || {
            let question = loop {
                if let Some(question) = questions.next() {
                    break question;
                }
                std::thread::yield_now();
            };
            let source = SourceStats::default();
            let Question::Figures(tell) = question else { panic!("figures are asked for") };
            tell.send(Figures { id: 1, packets: 7, bytes: 0, span: None, source, instances: Vec::new() }).unwrap();
        });
        // The other one is gone.
        drop(heard);
        let figures = inquiry.ask(Duration::from_secs(60));
        assert_eq!(figures.iter().map(|f| (f.id, f.packets)).collect::<Vec<_>>(), [(1, 7)]);
        answering.join().unwrap();
        assert!(inquiry.ask(Duration::ZERO).is_empty());
    }
}
