//! One usable image of a data set.

use std::borrow::Cow;
use std::{fs, io};

use sha2::{Digest, Sha256};

use crate::entry::Encoded;
use crate::error::DataError;
use crate::layout::Place;
use crate::picture::RgbImage;

/// SHA-256 of an encoded image.
pub(crate) type Fingerprint = [u8; 32];

#[derive(Debug)]
pub(crate) struct Sample {
    /// Inside the data set.
    pub path: String,
    pub place: Place,
    encoded: Encoded,
    pub fingerprint: Fingerprint,
    /// Upright, pixels.
    pub width: usize,
    /// Upright, pixels.
    pub height: usize,
}

impl Sample {
    /// Reads and decodes a file once; the reason if it is not usable.
    pub fn inspect(
        path: String,
        place: Place,
        encoded: Encoded,
        max_pixels: u64,
    ) -> Result<Sample, String> {
        let bytes = read(&encoded).map_err(|error| format!("cannot be read: {error}"))?;
        let picture = RgbImage::decode(&bytes, max_pixels).map_err(|fault| fault.to_string())?;
        let fingerprint = Sha256::digest(&bytes).into();
        Ok(Sample {
            path,
            place,
            encoded,
            fingerprint,
            width: picture.width,
            height: picture.height,
        })
    }

    /// The picture, which is the one that was inspected.
    pub fn decode(&self, max_pixels: u64) -> Result<RgbImage, DataError> {
        let changed = |reason: String| DataError::Changed {
            path: self.path.clone(),
            reason,
        };
        let bytes = read(&self.encoded).map_err(|error| changed(error.to_string()))?;
        let on_disk = matches!(self.encoded, Encoded::File(_));
        if on_disk && Fingerprint::from(Sha256::digest(&bytes)) != self.fingerprint {
            return Err(changed("its content is different".to_owned()));
        }
        RgbImage::decode(&bytes, max_pixels).map_err(|fault| changed(fault.to_string()))
    }
}

fn read(encoded: &Encoded) -> io::Result<Cow<'_, [u8]>> {
    match encoded {
        Encoded::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
        Encoded::File(location) => fs::read(location).map(Cow::Owned),
    }
}
