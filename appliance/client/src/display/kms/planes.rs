//! The planes of a device, as the kernel describes them.

use anyhow::Context;
use drm::control::property::ValueType;
use drm::control::{Device as _, PlaneType, ResourceHandle, crtc, plane};

use super::device::{Device, Properties};
use crate::planes::{Format, Heights, LINEAR, Plane, PlaneId};

/// Names of the colours that videos have (`COLOR_ENCODING`, `COLOR_RANGE`).
const BT709: &str = "ITU-R BT.709 YCbCr";
const LIMITED: &str = "YCbCr limited range";

/// A plane with what it can do.
#[derive(Debug, Clone)]
pub struct VideoPlane {
    /// For requests.
    pub properties: Properties<plane::Handle>,
    /// For planning.
    pub caps: Plane,
    /// Values of `COLOR_ENCODING` and `COLOR_RANGE` for videos.
    pub colours: Option<(u64, u64)>,
    /// Which kind.
    pub kind: Kind,
    /// CRTCs that can have it.
    pub crtcs: Vec<crtc::Handle>,
    /// The CRTC that had it before us.
    pub left_on: Option<crtc::Handle>,
}

/// Kinds of planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is drawn.
    Primary,
    /// Anything.
    Overlay,
    /// The pointer.
    Cursor,
}

/// All planes.
pub fn all(device: &Device) -> anyhow::Result<Vec<VideoPlane>> {
    let handles = device.plane_handles().context("list planes")?;
    handles.into_iter().map(|plane| of(device, plane)).collect()
}

/// One plane.
pub fn of(device: &Device, handle: plane::Handle) -> anyhow::Result<VideoPlane> {
    let info = device.get_plane(handle).context("look at a plane")?;
    let resources = device.resource_handles()?;
    let properties = Properties::of(device, handle)?;
    let blob = device
        .value(handle, "IN_FORMATS")?
        .filter(|blob| *blob != 0);
    let listed = blob.and_then(|blob| device.get_property_blob(blob).ok());
    let formats = listed.as_deref().and_then(in_formats).unwrap_or_else(|| {
        let linear = |code: &u32| Format {
            code: *code,
            modifier: LINEAR,
        };
        info.formats().iter().map(linear).collect()
    });
    let colours = |name, wanted| choice(device, handle, name, wanted);
    let colours = colours("COLOR_ENCODING", BT709)?.zip(colours("COLOR_RANGE", LIMITED)?);
    let kind = match device.value(handle, "type")? {
        Some(kind) if kind == PlaneType::Primary as u64 => Kind::Primary,
        Some(kind) if kind == PlaneType::Cursor as u64 => Kind::Cursor,
        _ => Kind::Overlay,
    };
    Ok(VideoPlane {
        caps: Plane {
            id: PlaneId(handle.into()),
            formats,
            heights: heights(device, handle)?,
            is_bt709: colours.is_some(),
        },
        properties,
        colours,
        kind,
        crtcs: resources.filter_crtcs(info.possible_crtcs()),
        left_on: info.crtc(),
    })
}

/// The value that an enumerated property has for a name.
fn choice<T: ResourceHandle>(
    device: &Device,
    of: T,
    property: &str,
    wanted: &str,
) -> anyhow::Result<Option<u64>> {
    let Some((info, _)) = device.find(of, property)? else {
        return Ok(None);
    };
    let ValueType::Enum(values) = info.value_type() else {
        return Ok(None);
    };
    let (_, entries) = values.values();
    let found = entries
        .iter()
        .find(|entry| entry.name().to_bytes() == wanted.as_bytes());
    Ok(found.map(|entry| entry.value()))
}

fn heights(device: &Device, plane: plane::Handle) -> anyhow::Result<Heights> {
    let Some((info, value)) = device.find(plane, "zpos")? else {
        return Ok(Heights::Unsaid);
    };
    Ok(match (info.mutable(), info.value_type()) {
        (true, ValueType::UnsignedRange(least, most)) if least < most => {
            Heights::Range(least, most)
        }
        _ => Heights::Fixed(value),
    })
}

/// The pairs in a blob of `IN_FORMATS` (`drm_format_modifier_blob`).
fn in_formats(blob: &[u8]) -> Option<Vec<Format>> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(blob.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(blob.get(at..at + 8)?.try_into().ok()?));
    let [version, count, formats, modifier_count, modifiers] = [0, 8, 12, 16, 20].map(u32_at);
    let (count, formats) = (count? as usize, formats? as usize);
    if version? != 1 || count > MOST_LISTED || modifier_count? as usize > MOST_LISTED {
        return None;
    }
    let mut found = Vec::new();
    for index in 0..modifier_count? as usize {
        let at = modifiers? as usize + index * 24;
        let (bits, first, modifier) = (u64_at(at)?, u32_at(at + 8)? as usize, u64_at(at + 16)?);
        for bit in (0..64).filter(|bit| bits >> bit & 1 == 1) {
            if first + bit < count {
                let code = u32_at(formats + (first + bit) * 4)?;
                found.push(Format { code, modifier });
            }
        }
    }
    Some(found)
}

/// More formats or modifiers than these no plane has.
const MOST_LISTED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(formats: &[u32], modifiers: &[(u64, u32, u64)]) -> Vec<u8> {
        let mut blob = Vec::new();
        let after = 24 + formats.len() * 4;
        let header = [1, 0, formats.len(), 24, modifiers.len(), after];
        blob.extend(header.iter().flat_map(|v| (*v as u32).to_le_bytes()));
        blob.extend(formats.iter().flat_map(|v| v.to_le_bytes()));
        for (bits, first, modifier) in modifiers {
            blob.extend(bits.to_le_bytes());
            blob.extend(first.to_le_bytes());
            blob.extend([0; 4]);
            blob.extend(modifier.to_le_bytes());
        }
        blob
    }

    #[test]
    fn formats_are_read_with_their_modifiers_and_any_bytes_do_no_harm() {
        let good = blob(&[11, 22, 33], &[(0b101, 0, 0), (0b10, 1, 7)]);
        let pairs = |blob: &[u8]| {
            let found = in_formats(blob)?;
            Some(
                found
                    .iter()
                    .map(|f| (f.code, f.modifier))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(pairs(&good), Some(vec![(11, 0), (33, 0), (33, 7)]));
        for length in 0..good.len() {
            let _ = in_formats(&good[..length]);
            let mut bad = good.clone();
            bad[length] = 0xff;
            let _ = in_formats(&bad);
        }
        assert_eq!(in_formats(&[]), None);
    }
}
