//! Tensors out of files that `torch.save` wrote: the zip format, and the stream format of before 1.6.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

use half::{bf16, f16};

use crate::pickle::{self, Node, Pickle, Value, size};
use crate::zip::Zip;
use crate::{HostTensor, StateDict};

/// All dictionaries of tensors in a file: the top level itself, or the values of its keys. Tensors of numbers that weights
/// do not come in, such as bytes, are skipped.
///
/// # Errors
/// If the file is truncated or damaged, or holds no dictionary of tensors.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<StateDict>, String> {
    let (pickle, storages) = if Zip::recognises(bytes) {
        open_zip(bytes)?
    } else {
        open_stream(bytes)?
    };
    let reader = Reader {
        pickle,
        storages,
        // A value takes two bytes of the file, an entry of a dictionary several, so only objects that are referred
        // to many times come near this bound.
        budget: Cell::new(bytes.len()),
    };
    let top = reader
        .pickle
        .dict(reader.pickle.root)
        .ok_or("the top level is not a dictionary")?;
    let mut found = Vec::new();
    if let Some(tensors) = reader.state_dict(reader.pickle.root)? {
        found.push(StateDict {
            name: String::new(),
            tensors,
        });
    }
    for &(key, value) in top {
        if let Some(name) = reader.pickle.text(key)
            && let Some(tensors) = reader.state_dict(value)?
        {
            found.push(StateDict {
                name: name.to_string(),
                tensors,
            });
        }
    }
    if found.is_empty() {
        return Err("it holds no dictionary of tensors".into());
    }
    Ok(found)
}

/// Far more than any weight has.
const MAX_DIMENSIONS: usize = 8;

/// Raw bytes of every storage by its key.
type Storages<'a> = BTreeMap<String, Cow<'a, [u8]>>;

fn open_zip(bytes: &[u8]) -> Result<(Pickle, Storages<'_>), String> {
    let zip = Zip::open(bytes)?;
    let data = zip
        .names()
        .find(|name| name.ends_with("/data.pkl"))
        .ok_or("not a PyTorch file: the zip has no data.pkl")?;
    let folder = data.trim_end_matches("data.pkl");
    let order = format!("{folder}byteorder");
    if zip.names().any(|name| name == order) && zip.member(&order)? != b"little" {
        return Err("its numbers are not little-endian".into());
    }
    let (pickle, _) = pickle::read(zip.member(data)?)?;
    let prefix = format!("{folder}data/");
    let mut storages = Storages::new();
    for name in zip.names() {
        if let Some(key) = name.strip_prefix(&prefix) {
            storages.insert(key.to_string(), Cow::Borrowed(zip.member(name)?));
        }
    }
    Ok((pickle, storages))
}

/// Magic number, protocol version, system, the object, the storages' keys; then each storage behind its length.
fn open_stream(bytes: &[u8]) -> Result<(Pickle, Storages<'_>), String> {
    const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let (magic, mut at) =
        pickle::read(bytes).map_err(|_| "neither a zip nor a stream of PyTorch")?;
    if magic.node(magic.root) != Some(&Node::Bytes(MAGIC.to_vec())) {
        return Err("neither a zip nor a stream of PyTorch".into());
    }
    let mut next = |part: &str| -> Result<Pickle, String> {
        let (pickle, length) =
            pickle::read(&bytes[at..]).map_err(|fault| format!("{part}: {fault}"))?;
        at += length;
        Ok(pickle)
    };
    let version = next("protocol version")?;
    if version.root != Value::Int(1001) {
        return Err("its protocol version is not 1001".into());
    }
    next("system information")?;
    let object = next("object")?;
    let keys = next("list of storages")?;

    let widths = storage_widths(&object)?;
    let keys = keys
        .list(keys.root)
        .map(|list| list.iter().map(|&key| keys.text(key)).collect::<Vec<_>>())
        .ok_or("the list of storages is no list")?;
    let mut storages = Storages::new();
    for key in keys {
        let key = key.ok_or("a storage's key is no text")?;
        let width = widths
            .get(key)
            .ok_or_else(|| format!("storage {key} belongs to no tensor"))?;
        let data =
            stored(bytes, &mut at, *width).ok_or_else(|| format!("storage {key} is truncated"))?;
        storages.insert(key.to_string(), Cow::Borrowed(data));
    }
    Ok((object, storages))
}

/// The next storage of a stream: a 64-bit number of values, then the values.
fn stored<'a>(bytes: &'a [u8], at: &mut usize, width: usize) -> Option<&'a [u8]> {
    let start = *at + 8;
    let count = bytes
        .get(*at..start)?
        .try_into()
        .map(u64::from_le_bytes)
        .ok()?;
    let length = usize::try_from(count).ok()?.checked_mul(width)?;
    let data = bytes.get(start..start.checked_add(length)?)?;
    *at = start + length;
    Some(data)
}

/// Bytes a value of every storage that the object mentions.
fn storage_widths(object: &Pickle) -> Result<BTreeMap<String, usize>, String> {
    let mut widths = BTreeMap::new();
    for node in &object.nodes {
        if let Node::Persistent(id) = node {
            let storage = StorageRef::of(object, *id)?;
            let width = width(storage.class)
                .ok_or_else(|| format!("{} is not supported", storage.class))?;
            widths.insert(storage.key.to_string(), width);
        }
    }
    Ok(widths)
}

/// Bytes a value of a storage: also of the kinds that no weight comes in, which lie among the others in a stream.
fn width(class: &str) -> Option<usize> {
    match class {
        "torch.BoolStorage"
        | "torch.ByteStorage"
        | "torch.CharStorage"
        | "torch.QInt8Storage"
        | "torch.QUInt8Storage"
        | "torch.storage.UntypedStorage" => Some(1),
        "torch.ShortStorage" => Some(2),
        "torch.QInt32Storage" => Some(4),
        "torch.ComplexFloatStorage" => Some(8),
        "torch.ComplexDoubleStorage" => Some(16),
        _ => Number::of(class).map(Number::width),
    }
}

/// How the values of a storage of weights are coded.
#[derive(Clone, Copy)]
enum Number {
    F16,
    BF16,
    F32,
    F64,
    I32,
    I64,
}

impl Number {
    fn of(class: &str) -> Option<Self> {
        match class {
            "torch.HalfStorage" => Some(Self::F16),
            "torch.BFloat16Storage" => Some(Self::BF16),
            "torch.FloatStorage" => Some(Self::F32),
            "torch.DoubleStorage" => Some(Self::F64),
            "torch.IntStorage" => Some(Self::I32),
            "torch.LongStorage" => Some(Self::I64),
            _ => None,
        }
    }

    fn width(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    fn get(self, data: &[u8], index: usize) -> f32 {
        let bytes = &data[index * self.width()..][..self.width()];
        let two = || bytes.try_into().expect("two bytes");
        let four = || bytes.try_into().expect("four bytes");
        let eight = || bytes.try_into().expect("eight bytes");
        match self {
            Self::F16 => f16::from_le_bytes(two()).to_f32(),
            Self::BF16 => bf16::from_le_bytes(two()).to_f32(),
            Self::F32 => f32::from_le_bytes(four()),
            Self::I32 => i32::from_le_bytes(four()) as f32,
            Self::F64 => f64::from_le_bytes(eight()) as f32,
            Self::I64 => i64::from_le_bytes(eight()) as f32,
        }
    }
}

/// A persistent id: ("storage", class, key, device, number of values, ...).
struct StorageRef<'a> {
    class: &'a str,
    key: &'a str,
}

impl<'a> StorageRef<'a> {
    fn of(pickle: &'a Pickle, id: Value) -> Result<Self, String> {
        let parts = pickle.tuple(id).ok_or("a storage reference is no tuple")?;
        let [kind, class, key, _, _, view @ ..] = parts else {
            return Err("a storage reference is too short".into());
        };
        if pickle.text(*kind) != Some("storage") {
            return Err("a reference to something that is no storage".into());
        }
        if view.first().is_some_and(|&view| view != Value::None) {
            return Err("a view of a storage, from before PyTorch 0.4, is not supported".into());
        }
        Ok(Self {
            class: pickle.global(*class).ok_or("a storage without a class")?,
            key: pickle.text(*key).ok_or("a storage's key is no text")?,
        })
    }
}

struct Reader<'a> {
    pickle: Pickle,
    storages: Storages<'a>,
    /// Values and entries that may still be read: many references to one object must not multiply a file's size.
    budget: Cell<usize>,
}

impl Reader<'_> {
    /// The tensors of a dictionary with at least one; other values in it are skipped.
    fn state_dict(&self, value: Value) -> Result<Option<Vec<(String, HostTensor)>>, String> {
        let mut tensors = Vec::new();
        for &(key, value) in self.pickle.dict(value).unwrap_or_default() {
            self.spend(1)?;
            let Some(name) = self.pickle.text(key) else {
                continue;
            };
            let tensor = self
                .tensor(value)
                .map_err(|reason| format!("tensor {name}: {reason}"))?;
            if let Some(tensor) = tensor {
                self.spend(name.len())?;
                tensors.push((name.to_string(), tensor));
            }
        }
        Ok((!tensors.is_empty()).then_some(tensors))
    }

    fn spend(&self, count: usize) -> Result<(), String> {
        let left = self.budget.get().checked_sub(count);
        self.budget
            .set(left.ok_or("it refers to the same objects too often")?);
        Ok(())
    }

    /// The tensor, if the value is a call that rebuilds one of numbers that weights come in.
    fn tensor(&self, value: Value) -> Result<Option<HostTensor>, String> {
        let Some(&Node::Call(function, arguments)) = self.pickle.node(value) else {
            return Ok(None);
        };
        let arguments = self.pickle.tuple(arguments).unwrap_or_default();
        match self.pickle.global(function) {
            Some("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor") => {
                self.rebuild(arguments)
            }
            // A parameter is its tensor, two flags and perhaps a state; one level only, so that a loop cannot recurse.
            Some(
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
            ) => match arguments.first() {
                Some(&data) => match self.pickle.node(data) {
                    Some(&Node::Call(_, inner)) => {
                        let inner = self.pickle.tuple(inner).unwrap_or_default();
                        self.rebuild(inner)
                    }
                    _ => Err("a parameter without data".into()),
                },
                None => Err("a parameter without data".into()),
            },
            _ => Ok(None),
        }
    }

    /// (storage, offset, shape, strides, ...), offset and strides counted in values.
    fn rebuild(&self, arguments: &[Value]) -> Result<Option<HostTensor>, String> {
        let [storage, offset, shape, strides, ..] = arguments else {
            return Err("too few arguments".into());
        };
        let Some(&Node::Persistent(id)) = self.pickle.node(*storage) else {
            return Err("no storage".into());
        };
        let StorageRef { class, key } = StorageRef::of(&self.pickle, id)?;
        // Checkpoints hold bytes beside their weights, such as the state of a random number generator.
        let Some(number) = Number::of(class) else {
            return Ok(None);
        };
        // Read before it is copied: one long tuple may be the shape of many tensors.
        for sides in [*shape, *strides] {
            if self
                .pickle
                .tuple(sides)
                .is_some_and(|sides| sides.len() > MAX_DIMENSIONS)
            {
                return Err(format!("more than {MAX_DIMENSIONS} dimensions"));
            }
        }
        let data = self
            .storages
            .get(key)
            .ok_or_else(|| format!("storage {key} is missing"))?;
        let (Some(offset), Some(shape), Some(strides)) = (
            size(*offset),
            self.pickle.sizes(*shape),
            self.pickle.sizes(*strides),
        ) else {
            return Err("offset, shape or strides are no sizes".into());
        };
        let available = data.len() / number.width();
        let indices = view(offset, &shape, &strides, available)?;
        self.spend(indices.len())?;
        let values = indices
            .iter()
            .map(|&index| number.get(data, index))
            .collect();
        Ok(Some(HostTensor { shape, values }))
    }
}

/// Positions in a storage of `available` values of a view's values, in memory order of the shape.
fn view(
    offset: usize,
    shape: &[usize],
    strides: &[usize],
    available: usize,
) -> Result<Vec<usize>, String> {
    let outside = || {
        format!(
            "shape {shape:?}, strides {strides:?} and offset {offset} reach beyond the storage of {available} values"
        )
    };
    if shape.len() != strides.len() {
        return Err(format!(
            "shape {shape:?} does not go with strides {strides:?}"
        ));
    }
    let count = shape
        .iter()
        .try_fold(1usize, |product, &side| product.checked_mul(side));
    // A repeated (expanded) view is never stored as a weight; refusing it bounds the memory by the file's size.
    let count = count
        .filter(|&count| count <= available)
        .ok_or_else(outside)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(offset, |sum, (&side, &stride)| {
            sum.checked_add((side - 1).checked_mul(stride)?)
        });
    if last.is_none_or(|last| last >= available) {
        return Err(outside());
    }
    let mut indices = vec![offset];
    for (&side, &stride) in shape.iter().zip(strides) {
        indices = indices
            .iter()
            .flat_map(|&base| (0..side).map(move |i| base + i * stride))
            .collect();
    }
    Ok(indices)
}

#[cfg(test)]
mod tests;
