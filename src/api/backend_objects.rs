//! Alerts, resources, documents and flows as backend callbacks receive them, and what callbacks change of them.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Function, IntoLua, Lua, LuaString, MultiValue, Table, Value};
use sha1::{Digest, Sha1};

use super::context::VmContext;
use super::engine::{EngineParts, label_of};
use crate::lua::own_text;
use crate::metrics::{Alert, Document, Resource, Session, add_tag, cut_text};
use crate::time::Timestamp;

const OBJECTS: &str = include_str!("lua/backend_objects.lua");

/// What a callback changed of its object.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemChange {
    /// `set_priority`.
    Priority(f64),
    /// `set_message`.
    Message(Vec<u8>),
    /// `set_extra_message`.
    Extra(Vec<u8>),
    /// `set_uri`.
    Uri(Vec<u8>),
    /// `set_label`.
    Label(Vec<u8>),
    /// `add_tag`.
    Tag(Vec<u8>),
}

impl ItemChange {
    /// Carries the change out on an alert; what is none of an alert does nothing.
    pub fn apply_to_alert(self, alert: &mut Alert) {
        match self {
            Self::Priority(priority) => alert.priority = priority,
            Self::Message(text) => alert.message = text,
            Self::Extra(text) => alert.extra = text,
            _ => {}
        }
    }

    /// Carries the change out on a resource.
    pub fn apply_to_resource(self, resource: &mut Resource) {
        match self {
            Self::Uri(text) => resource.uri = text,
            Self::Label(text) => resource.label = text,
            _ => {}
        }
    }
}

/// An object that a callback is called with.
#[derive(Clone, Copy, Debug)]
pub enum ItemRef<'a> {
    /// An alert.
    Alert(&'a Alert),
    /// A resource.
    Resource(&'a Resource),
    /// A full-text document.
    Document(&'a Document),
    /// A flow.
    Session(&'a Session),
}

/// The makers of objects of one VM.
#[derive(Debug)]
pub struct BackendObjects {
    alert: Function,
    resource: Function,
    document: Function,
    flow: Function,
    changes: Rc<RefCell<Vec<ItemChange>>>,
}

impl BackendObjects {
    /// Installs them in a VM.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn install(lua: &Lua, parts: &EngineParts, vm: &Rc<VmContext>) -> mlua::Result<Self> {
        let changes: Rc<RefCell<Vec<ItemChange>>> = Rc::default();
        let host = lua.create_table()?;
        host.set("nil_argument", parts.host.get::<Function>("nil_argument")?)?;
        host.set("document_key", lua.create_function(|_, text: LuaString| Ok(hex(&Sha1::digest(&*text.as_bytes()))))?)?;
        let changed = Rc::clone(&changes);
        host.set(
            "change",
            lua.create_function(move |_, (method, value): (String, Value)| {
                changed.borrow_mut().extend(change(&method, &value));
                Ok(())
            })?,
        )?;
        let (tagged, on_tag) = (Rc::clone(&changes), Rc::clone(vm));
        host.set(
            "add_tag",
            lua.create_function(move |lua, (tags, tag): (LuaString, LuaString)| {
                let (mut tags, tag) = (tags.as_bytes().to_vec(), label_of(&tag));
                let before = tags.len();
                add_tag(&mut tags, &tag);
                if tags.len() > before {
                    tagged.borrow_mut().push(ItemChange::Tag(tag));
                } else {
                    on_tag.log(super::LogLevel::Debug, "add_tag(): the tag is there already, or does not fit");
                }
                lua.create_string(tags)
            })?,
        )?;
        let chunk = own_text(lua, "=millstream.backend_objects", OBJECTS)?;
        let makers: Table = chunk.call((&parts.objects, &parts.engine, host))?;
        Ok(Self {
            alert: makers.get("alert")?,
            resource: makers.get("resource")?,
            document: makers.get("document")?,
            flow: makers.get("flow")?,
            changes,
        })
    }

    /// The function that calls a callback with an object, and its arguments.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn call(&self, lua: &Lua, callback: &Function, item: ItemRef<'_>) -> mlua::Result<(Function, MultiValue)> {
        self.changes.borrow_mut().clear();
        let mut args = Args { lua, values: vec![Value::Function(callback.clone())] };
        let maker = match item {
            ItemRef::Alert(alert) => {
                args.time(alert.time)?;
                args.flow(alert.flow.as_deref())?;
                args.text(&alert.sigid)?;
                args.text(&alert.classification)?;
                args.push(alert.priority)?;
                args.text(&alert.message)?;
                args.text(&alert.extra)?;
                args.text(&alert.status)?;
                args.push(alert.ack)?;
                if let Some(ids) = &alert.ids {
                    for text in [&ids.source_ip, &ids.source_port, &ids.destination_ip, &ids.destination_port] {
                        args.text(text)?;
                    }
                }
                &self.alert
            }
            ItemRef::Resource(resource) => {
                args.time(resource.time)?;
                args.flow(resource.flow.as_deref())?;
                args.text(&resource.uri)?;
                args.text(&resource.label)?;
                &self.resource
            }
            ItemRef::Document(document) => {
                args.time(document.time)?;
                args.flow(document.flow.as_deref())?;
                args.text(&document.text)?;
                &self.document
            }
            ItemRef::Session(flow) => {
                args.text(&flow.id)?;
                args.text(&flow.tags)?;
                args.push(flow.start.secs())?;
                args.push(flow.end.secs())?;
                args.push(flow.state)?;
                for pair in [flow.bytes, flow.packets, flow.payload] {
                    args.push(pair[0] as f64)?;
                    args.push(pair[1] as f64)?;
                }
                args.push(flow.setup_rtt)?;
                args.push(flow.retransmissions)?;
                &self.flow
            }
        };
        Ok((maker.clone(), MultiValue::from_vec(args.values)))
    }

    /// What the last callback changed.
    #[must_use]
    pub fn take_changes(&self) -> Vec<ItemChange> {
        self.changes.take()
    }
}

struct Args<'a> {
    lua: &'a Lua,
    values: Vec<Value>,
}

impl Args<'_> {
    fn push(&mut self, value: impl IntoLua) -> mlua::Result<()> {
        self.values.push(value.into_lua(self.lua)?);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> mlua::Result<()> {
        self.push(self.lua.create_string(text)?)
    }

    fn time(&mut self, time: Timestamp) -> mlua::Result<()> {
        self.push(time.secs())?;
        self.push(time.subsec_micros())
    }

    fn flow(&mut self, flow: Option<&[u8]>) -> mlua::Result<()> {
        match flow {
            Some(flow) => self.text(flow),
            None => self.push(false),
        }
    }
}

fn change(method: &str, value: &Value) -> Option<ItemChange> {
    let text = || value.as_string().map(|text| cut_text(&text.as_bytes()).to_vec());
    Some(match method {
        "set_priority" => ItemChange::Priority(match value {
            Value::Integer(number) => *number as f64,
            Value::Number(number) => *number,
            _ => return None,
        }),
        "set_message" => ItemChange::Message(text()?),
        "set_extra_message" => ItemChange::Extra(text()?),
        "set_uri" => ItemChange::Uri(text()?),
        "set_label" => ItemChange::Label(text()?),
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
