//! Tensors out of files that `torch.save` wrote: the zip format, and the stream format of before 1.6.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};

use super::ImportError;
use super::pickle::{self, Node, Pickle, Value, size};
use super::zip::Zip;

/// A tensor on the host. Integers are converted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostTensor {
    pub shape: Vec<usize>,
    /// In memory order of `shape`, whatever the strides in the file were.
    pub values: Vec<f32>,
}

/// A dictionary of named tensors, in the file's order. `name` is its key at the top level, empty if the file holds
/// nothing else.
#[derive(Clone, Debug)]
pub(crate) struct StateDict {
    pub name: String,
    pub tensors: Vec<(String, HostTensor)>,
}

/// All dictionaries of tensors in a file: the top level itself, or the values of its keys.
///
/// # Errors
/// If the file cannot be read, is truncated or damaged, or holds no dictionary of tensors.
pub(crate) fn read(path: &Path) -> Result<Vec<StateDict>, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&bytes).map_err(|reason| ImportError::Malformed {
        path: path.to_owned(),
        reason,
    })
}

/// [`read`] of a file that is in memory.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<StateDict>, String> {
    let (pickle, storages) = if Zip::recognises(bytes) {
        open_zip(bytes)?
    } else {
        open_stream(bytes)?
    };
    let reader = Reader {
        pickle,
        storages,
        // Every value takes two bytes at least, so only views that share storages come near this bound.
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
            widths.insert(storage.key.to_string(), storage.number.width());
        }
    }
    Ok(widths)
}

/// How a storage's values are coded.
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
    number: Number,
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
        let class = pickle.global(*class).ok_or("a storage without a class")?;
        Ok(Self {
            number: Number::of(class).ok_or_else(|| format!("{class} is not supported"))?,
            key: pickle.text(*key).ok_or("a storage's key is no text")?,
        })
    }
}

struct Reader<'a> {
    pickle: Pickle,
    storages: Storages<'a>,
    /// Values that may still be read: many views of one storage must not multiply a file's size without end.
    budget: Cell<usize>,
}

impl Reader<'_> {
    /// The tensors of a dictionary with at least one; other values in it are skipped.
    fn state_dict(&self, value: Value) -> Result<Option<Vec<(String, HostTensor)>>, String> {
        let mut tensors = Vec::new();
        for &(key, value) in self.pickle.dict(value).unwrap_or_default() {
            let Some(name) = self.pickle.text(key) else {
                continue;
            };
            let tensor = self
                .tensor(value)
                .map_err(|reason| format!("tensor {name}: {reason}"))?;
            if let Some(tensor) = tensor {
                tensors.push((name.to_string(), tensor));
            }
        }
        Ok((!tensors.is_empty()).then_some(tensors))
    }

    /// The tensor, if the value is a call that rebuilds one.
    fn tensor(&self, value: Value) -> Result<Option<HostTensor>, String> {
        let Some(&Node::Call(function, arguments)) = self.pickle.node(value) else {
            return Ok(None);
        };
        let arguments = self.pickle.tuple(arguments).unwrap_or_default();
        match self.pickle.global(function) {
            Some("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor") => {
                self.rebuild(arguments).map(Some)
            }
            // A parameter is its tensor and two flags; one level only, so that a loop cannot recurse.
            Some("torch._utils._rebuild_parameter") => match arguments.first() {
                Some(&data) => match self.pickle.node(data) {
                    Some(&Node::Call(_, inner)) => {
                        let inner = self.pickle.tuple(inner).unwrap_or_default();
                        self.rebuild(inner).map(Some)
                    }
                    _ => Err("a parameter without data".into()),
                },
                None => Err("a parameter without data".into()),
            },
            _ => Ok(None),
        }
    }

    /// (storage, offset, shape, strides, ...), offset and strides counted in values.
    fn rebuild(&self, arguments: &[Value]) -> Result<HostTensor, String> {
        let [storage, offset, shape, strides, ..] = arguments else {
            return Err("too few arguments".into());
        };
        let Some(&Node::Persistent(id)) = self.pickle.node(*storage) else {
            return Err("no storage".into());
        };
        let reference = StorageRef::of(&self.pickle, id)?;
        let (number, key) = (reference.number, reference.key);
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
        let left = self.budget.get().checked_sub(indices.len());
        self.budget
            .set(left.ok_or("the tensors share storages too often")?);
        let values = indices
            .iter()
            .map(|&index| number.get(data, index))
            .collect();
        Ok(HostTensor { shape, values })
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
mod tests {
    use super::*;

    #[test]
    fn views_follow_strides_and_offset() {
        assert_eq!(
            view(10, &[2, 3], &[1, 5], 40).unwrap(),
            [10, 15, 20, 11, 16, 21]
        );
        assert_eq!(view(3, &[], &[], 4).unwrap(), [3]);
        assert!(view(0, &[0, 3], &[3, 1], 4).unwrap().is_empty());
    }

    #[test]
    fn views_beyond_the_storage_are_refused() {
        for (offset, shape, strides) in [
            (1, vec![4], vec![1]),
            (0, vec![1 << 40, 1 << 40], vec![0, 0]),
            (0, vec![2], vec![usize::MAX]),
            (0, vec![5], vec![0]),
        ] {
            let error = view(offset, &shape, &strides, 4).unwrap_err();
            assert!(error.contains("beyond the storage of 4 values"), "{error}");
        }
    }

    /// A golden file's bytes; `None`, with a remark, where it is not there.
    fn golden(file: &str) -> Option<Vec<u8>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/golden/ofa")
            .join(file);
        let bytes = std::fs::read(&path).ok();
        if bytes.is_none() {
            println!("skipped: {} is missing", path.display());
        }
        bytes
    }

    fn named<'a>(dicts: &'a [StateDict], dict: &str, name: &str) -> &'a HostTensor {
        let dict = dicts.iter().find(|d| d.name == dict).unwrap();
        &dict.tensors.iter().find(|(key, _)| key == name).unwrap().1
    }

    #[test]
    fn zip_and_stream_hold_the_same_numbers() {
        let (Some(zip), Some(stream)) = (
            golden("ofa_mbv3_w1.0_random.pth"),
            golden("legacy_small.pth"),
        ) else {
            return;
        };
        let (zip, stream) = (parse(&zip).unwrap(), parse(&stream).unwrap());
        assert_eq!(zip[0].tensors.len(), 475);
        let small = stream
            .iter()
            .find(|dict| dict.name == "state_dict")
            .unwrap();
        assert_eq!(small.tensors.len(), 21);
        for (name, tensor) in &small.tensors {
            assert_eq!(tensor, named(&zip, "state_dict", name), "{name}");
        }
        let base = named(&stream, "extra", "base");
        let bias = named(&zip, "state_dict", "classifier.linear.bias");
        assert_eq!(base.values, bias.values[..40]);
        assert_eq!(
            named(&stream, "extra", "offset").values,
            base.values[10..20]
        );
        let strided = named(&stream, "extra", "strided");
        assert_eq!(strided.shape, [5, 4]);
        for (index, value) in strided.values.iter().enumerate() {
            assert_eq!(*value, base.values[index / 4 + 5 * (index % 4)]);
        }
    }

    #[test]
    fn damaged_streams_end_in_an_error_or_in_tensors() {
        let Some(whole) = golden("legacy_small.pth") else {
            return;
        };
        for length in (0..whole.len()).step_by(101) {
            assert!(parse(&whole[..length]).is_err(), "cut at {length}");
        }
        let mut refused = 0;
        for at in (0..3600).step_by(3) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x11;
            refused += usize::from(parse(&damaged).is_err());
        }
        assert!(refused > 600, "{refused}");
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"PK\x03\x04", b"\x89PNG\r\n", b"\x80\x02}."] {
            assert!(parse(bytes).is_err());
        }
    }
}
