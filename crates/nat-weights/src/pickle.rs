//! Reads the subset of Python's pickle format that checkpoints use. Nothing is executed.
//!
//! Calls are recorded, not made: a value is a number, a text, or an index into an arena, so a hostile stream can
//! neither run code nor recurse, and what it allocates is bounded by its own length.

use std::collections::BTreeMap;

/// Objects and references to them that a stream may make; a checkpoint needs about a dozen a tensor. A stream makes an
/// object with a single byte, and copies a whole list with six.
const MAX_OBJECTS: usize = 1 << 20;
/// Length of a module's or a function's name, in bytes.
const MAX_NAME: usize = 256;

/// A value of the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Index of a [`Node`].
    Node(usize),
}

/// A value that holds others, or text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A name such as `torch._utils._rebuild_tensor_v2`.
    Global(String),
    /// A reference that the file's container resolves, such as a tensor's storage.
    Persistent(Value),
    /// A call that the stream asks for: function and arguments.
    Call(Value, Value),
}

/// One unpickled object and all that hangs on it.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub root: Value,
    pub nodes: Vec<Node>,
}

impl Pickle {
    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => Some(&self.nodes[index]),
            _ => None,
        }
    }

    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn global(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Global(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn list(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(items) => Some(items),
            _ => None,
        }
    }

    /// The tuple as sizes; `None` if it is no tuple or an item is no number from 0.
    pub(crate) fn sizes(&self, value: Value) -> Option<Vec<usize>> {
        self.tuple(value)?.iter().map(|&item| size(item)).collect()
    }
}

/// The value as a number from 0.
pub(crate) fn size(value: Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).ok(),
        _ => None,
    }
}

/// Reads one pickle from the start of `bytes`; returns it and its length.
///
/// # Errors
/// What is wrong, with the position in `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<(Pickle, usize), String> {
    let mut machine = Machine {
        bytes,
        position: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        nodes: Vec::new(),
        copied: 0,
    };
    let root = machine
        .run()
        .map_err(|fault| format!("{fault} at byte {} of the pickle", machine.position))?;
    Ok((
        Pickle {
            root,
            nodes: machine.nodes,
        },
        machine.position,
    ))
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value>,
    nodes: Vec<Node>,
    /// Items of one object that were looked at to be copied into another.
    copied: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let held = self.nodes.len() + self.stack.len() + self.marks.len() + self.copied;
            if held.max(self.memo.len()) > MAX_OBJECTS {
                return Err("too many objects".to_string());
            }
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.marks.push(self.stack.len()),
                b'0' => {
                    self.pop()?;
                }
                b'1' => {
                    self.pop_to_mark()?;
                }
                b'2' => {
                    let top = self.pop()?;
                    self.stack.extend([top, top]);
                }
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'K' => self.integer(1, false)?,
                b'M' => self.integer(2, false)?,
                b'J' => self.integer(4, true)?,
                0x8a => {
                    let length = self.length(1)?;
                    self.integer(length, true)?;
                }
                b'G' => {
                    let bytes = self.take(8)?.try_into().expect("eight bytes");
                    self.stack.push(Value::Float(f64::from_be_bytes(bytes)));
                }
                0x8c => self.text(1)?,
                b'X' => self.text(4)?,
                0x8d => self.text(8)?,
                b'U' => self.text(1)?,
                b'T' => self.text(4)?,
                b'C' => self.byte_string(1)?,
                b'B' => self.byte_string(4)?,
                0x8e => self.byte_string(8)?,
                b')' => self.push(Node::Tuple(Vec::new())),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Tuple(items));
                }
                b']' => self.push(Node::List(Vec::new())),
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::List(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b'}' => self.push(Node::Dict(Vec::new())),
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.insert(vec![key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.insert(items)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.global(&module, &name)?;
                }
                0x93 => self.stack_global()?,
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Node::Persistent(id));
                }
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    let function = self.pop()?;
                    self.call(function, arguments)?;
                }
                // The state of an object, such as the version numbers of a state dictionary: of no interest.
                b'b' => {
                    self.pop()?;
                }
                b'q' => {
                    let key = self.length(1)?;
                    self.remember(key)?;
                }
                b'r' => {
                    let key = self.length(4)?;
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let key = self.length(1)?;
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.length(4)?;
                    self.recall(key)?;
                }
                other => return Err(format!("unsupported opcode 0x{other:02x}")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or_else(|| "unexpected end of the data".to_string())?;
        self.position += count;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.take(count).map(|_| ())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.position..];
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or_else(|| "unexpected end of the data".to_string())?;
        self.position += length + 1;
        utf8(&rest[..length])
    }

    /// A little-endian length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize, String> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| "impossible length".to_string())
    }

    /// A little-endian integer; longer than 8 bytes only as the magic number of old files, which is compared as text.
    fn integer(&mut self, width: usize, signed: bool) -> Result<(), String> {
        let taken = self.take(width)?;
        if width > 8 {
            self.push(Node::Bytes(taken.to_vec()));
            return Ok(());
        }
        let negative = signed && taken.last().is_some_and(|&byte| byte >= 0x80);
        let mut bytes = if negative { [0xff; 8] } else { [0; 8] };
        bytes[..width].copy_from_slice(taken);
        self.stack.push(Value::Int(i64::from_le_bytes(bytes)));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let length = self.length(width)?;
        let text = utf8(self.take(length)?)?;
        self.push(Node::Text(text));
        Ok(())
    }

    fn byte_string(&mut self, width: usize) -> Result<(), String> {
        let length = self.length(width)?;
        let bytes = self.take(length)?.to_vec();
        self.push(Node::Bytes(bytes));
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.nodes.push(node);
        self.stack.push(Value::Node(self.nodes.len() - 1));
    }

    fn pop(&mut self) -> Result<Value, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".to_string());
        }
        Ok(self.stack.pop().expect("checked above"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or_else(|| "no mark".to_string())?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn top(&mut self) -> Result<&mut Node, String> {
        match self.stack.last() {
            Some(&Value::Node(index)) => Ok(&mut self.nodes[index]),
            _ => Err("no object to put items in".to_string()),
        }
    }

    fn append(&mut self, new: Vec<Value>) -> Result<(), String> {
        match self.top()? {
            Node::List(items) => items.extend(new),
            // Items of an object of some other class, which is of no interest.
            Node::Call(..) => {}
            _ => return Err("items for something that is no list".to_string()),
        }
        Ok(())
    }

    fn insert(&mut self, new: Vec<Value>) -> Result<(), String> {
        if !new.len().is_multiple_of(2) {
            return Err("a key without a value".to_string());
        }
        match self.top()? {
            Node::Dict(items) => items.extend(new.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Node::Call(..) => {}
            _ => return Err("keys for something that is no dictionary".to_string()),
        }
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let name = self.pop()?;
        let module = self.pop()?;
        let text = |value| match value {
            Value::Node(index) => match &self.nodes[index] {
                Node::Text(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let (Some(module), Some(name)) = (text(module), text(name)) else {
            return Err("a global whose name is no text".to_string());
        };
        self.global(&module, &name)
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        if module.len().max(name.len()) > MAX_NAME {
            return Err(format!(
                "a global whose name is of more than {MAX_NAME} bytes"
            ));
        }
        self.push(Node::Global(format!("{module}.{name}")));
        Ok(())
    }

    /// An ordered dictionary becomes a dictionary; its items follow, or (Python 2) are the argument.
    fn call(&mut self, function: Value, arguments: Value) -> Result<(), String> {
        let node = |value| match value {
            Value::Node(index) => Some(&self.nodes[index]),
            _ => None,
        };
        let ordered =
            matches!(node(function), Some(Node::Global(name)) if name == "collections.OrderedDict");
        if !ordered {
            self.push(Node::Call(function, arguments));
            return Ok(());
        }
        let mut items = Vec::new();
        let mut copied = self.copied;
        if let Some(Node::Tuple(arguments)) = node(arguments)
            && let Some(Node::List(pairs)) = arguments.first().and_then(|&list| node(list))
        {
            // Refused before they are looked at: one list may be the argument of many calls, whether of pairs or not.
            copied += pairs.len();
            if copied > MAX_OBJECTS {
                return Err("too many objects".to_string());
            }
            for &pair in pairs {
                if let Some(Node::Tuple(pair) | Node::List(pair)) = node(pair)
                    && let [key, value] = pair[..]
                {
                    items.push((key, value));
                }
            }
        }
        self.copied = copied;
        self.push(Node::Dict(items));
        Ok(())
    }

    fn remember(&mut self, key: usize) -> Result<(), String> {
        let top = *self
            .stack
            .last()
            .ok_or_else(|| "the stack is empty".to_string())?;
        self.memo.insert(key as u32, top);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), String> {
        let value = *self
            .memo
            .get(&(key as u32))
            .ok_or_else(|| format!("no remembered object {key}"))?;
        self.stack.push(value);
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "text that is not UTF-8".to_string())
}

#[cfg(test)]
mod tests;
