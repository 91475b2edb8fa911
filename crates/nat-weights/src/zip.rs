//! The members of an uncompressed zip file, as PyTorch writes it.

use std::collections::BTreeMap;

/// Members by name, each a slice of the file. Its checksum is verified when the member is asked for.
pub(crate) struct Zip<'a> {
    members: BTreeMap<String, Member<'a>>,
}

struct Member<'a> {
    data: &'a [u8],
    checksum: u32,
}

const END_OF_DIRECTORY: [u8; 4] = *b"PK\x05\x06";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";

impl<'a> Zip<'a> {
    /// Whether the bytes start like a zip file.
    pub(crate) fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(&LOCAL_HEADER)
    }

    /// Reads the directory.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        // The end record is the last 22 bytes, or lies before a comment of at most 65,535.
        let first = bytes.len().saturating_sub(22 + 0xffff);
        let end = (first..bytes.len().saturating_sub(21))
            .rev()
            .find(|&at| bytes[at..].starts_with(&END_OF_DIRECTORY))
            .ok_or("the zip directory is missing: the file is truncated")?;
        let count = u16_at(bytes, end + 10)?;
        let mut at = u32_at(bytes, end + 16)? as usize;
        let mut members = BTreeMap::new();
        let mut total = 0usize;
        for _ in 0..count {
            if !tail(bytes, at)?.starts_with(&DIRECTORY_ENTRY) {
                return Err("the zip directory is damaged".into());
            }
            let method = u16_at(bytes, at + 10)?;
            let checksum = u32_at(bytes, at + 16)?;
            let size = u32_at(bytes, at + 20)?;
            let name_length = u16_at(bytes, at + 28)? as usize;
            let others = u16_at(bytes, at + 30)? as usize + u16_at(bytes, at + 32)? as usize;
            let header = u32_at(bytes, at + 42)?;
            let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
            if method != 0 {
                return Err(format!(
                    "member {name} is compressed, which PyTorch never does"
                ));
            }
            if size == u32::MAX || header == u32::MAX {
                return Err(format!(
                    "member {name} needs the zip64 format, which is not supported"
                ));
            }
            let data = local_data(bytes, header as usize, size as usize)?;
            // Members of one file may overlap only if someone means harm: each is read once, all of them not forever.
            total = total.saturating_add(data.len());
            if total > bytes.len() {
                return Err("the zip directory is damaged: its members overlap".into());
            }
            members.insert(name, Member { data, checksum });
            at += 46 + name_length + others;
        }
        Ok(Self { members })
    }

    /// Names of all members, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The bytes of a member.
    ///
    /// # Errors
    /// If there is no such member, or its checksum does not fit.
    pub(crate) fn member(&self, name: &str) -> Result<&'a [u8], String> {
        let member = self
            .members
            .get(name)
            .ok_or_else(|| format!("member {name} is missing"))?;
        // A fuzzer would hardly ever get past a checksum.
        if !cfg!(fuzzing) && crc32(member.data) != member.checksum {
            return Err(format!("member {name} is damaged: its checksum differs"));
        }
        Ok(member.data)
    }
}

fn local_data(bytes: &[u8], header: usize, size: usize) -> Result<&[u8], String> {
    if !tail(bytes, header)?.starts_with(&LOCAL_HEADER) {
        return Err("the zip directory is damaged".into());
    }
    let skipped = u16_at(bytes, header + 26)? as usize + u16_at(bytes, header + 28)? as usize;
    slice(bytes, header + 30 + skipped, size)
}

fn tail(bytes: &[u8], at: usize) -> Result<&[u8], String> {
    bytes
        .get(at..)
        .ok_or_else(|| "the file is truncated".into())
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], String> {
    tail(bytes, at)?
        .get(..length)
        .ok_or_else(|| "the file is truncated".into())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    let two = slice(bytes, at, 2)?;
    Ok(u16::from_le_bytes([two[0], two[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four = slice(bytes, at, 4)?;
    Ok(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// The checksum of zip files: CRC-32 with the reflected polynomial 0xEDB88320.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    value >> 1 ^ 0xEDB8_8320
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        crc >> 8 ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize]
    })
}

/// A file of these members, each a name and its bytes.
#[cfg(test)]
pub(crate) fn of_members(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let header = bytes.len() as u32;
        let sizes = [crc32(data), data.len() as u32, data.len() as u32].map(u32::to_le_bytes);
        let name_length = (name.len() as u16).to_le_bytes();
        bytes.extend(LOCAL_HEADER);
        bytes.extend([0; 10]);
        bytes.extend(sizes.concat());
        bytes.extend(name_length);
        bytes.extend([0; 2]);
        bytes.extend(name.as_bytes());
        bytes.extend(*data);
        directory.extend(DIRECTORY_ENTRY);
        directory.extend([0; 12]);
        directory.extend(sizes.concat());
        directory.extend(name_length);
        directory.extend([0; 12]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    let count = (members.len() as u16).to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(END_OF_DIRECTORY);
    bytes.extend([0; 4]);
    bytes.extend([count, count].concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty-named header, "a" holding "xy", the directory and its end record.
    fn small() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(LOCAL_HEADER);
        bytes.extend([0; 10]);
        bytes.extend(crc32(b"xy").to_le_bytes());
        bytes.extend([2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 3, 0]);
        bytes.extend(b"aEXTxy");
        let directory = bytes.len() as u32;
        bytes.extend(DIRECTORY_ENTRY);
        bytes.extend([0; 12]);
        bytes.extend(crc32(b"xy").to_le_bytes());
        bytes.extend([2, 0, 0, 0, 2, 0, 0, 0, 1, 0]);
        bytes.extend([0; 16]);
        bytes.extend(b"a");
        bytes.extend(END_OF_DIRECTORY);
        bytes.extend([0, 0, 0, 0, 1, 0, 1, 0, 47, 0, 0, 0]);
        bytes.extend(directory.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn reads_a_stored_member() {
        let bytes = small();
        let zip = Zip::open(&bytes).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(zip.member("a").unwrap(), b"xy");
        assert_eq!(zip.member("b").unwrap_err(), "member b is missing");
    }

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn damage_and_truncation_are_found() {
        let mut bytes = small();
        bytes[34] = b'z';
        let zip = Zip::open(&bytes).unwrap();
        assert!(zip.member("a").unwrap_err().contains("checksum"));
        for length in 0..bytes.len() {
            assert!(Zip::open(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn members_that_overlap_are_refused() {
        let whole = small();
        let directory = whole.len() - 22 - 47;
        let entry = &whole[directory..directory + 47];
        let mut bytes = whole[..directory].to_vec();
        for name in 0..200 {
            let mut entry = entry.to_vec();
            entry[46] = name;
            bytes.extend(entry);
        }
        // The smallest file with 200 entries is still larger than 200 times "xy": let the members be long.
        let data = 30 + 1 + 3;
        let size = (bytes.len() - data) as u32;
        for index in 0..200 {
            let at = directory + 47 * index + 20;
            bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
        }
        bytes.extend(END_OF_DIRECTORY);
        bytes.extend([0, 0, 0, 0, 200, 0, 200, 0, 0, 0, 0, 0]);
        bytes.extend((directory as u32).to_le_bytes());
        bytes.extend([0, 0]);
        let error = Zip::open(&bytes).err().unwrap();
        assert!(error.contains("overlap"), "{error}");
    }
}
