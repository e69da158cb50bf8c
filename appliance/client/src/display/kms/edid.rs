//! What a screen says of itself.

use drm::control::{Device as _, connector};

use super::device::Device;

/// Manufacturer and model from the connector's EDID (VESA E-EDID 1.4); empty where it has none.
pub fn names(device: &Device, connector: connector::Handle) -> (String, String) {
    let blob = device
        .value(connector, "EDID")
        .ok()
        .flatten()
        .filter(|blob| *blob != 0);
    let edid = blob
        .and_then(|blob| device.get_property_blob(blob).ok())
        .unwrap_or_default();
    (
        maker(&edid).unwrap_or_default(),
        model(&edid).unwrap_or_default(),
    )
}

/// Three letters of five bits each.
fn maker(edid: &[u8]) -> Option<String> {
    let packed = u16::from_be_bytes(edid.get(8..10)?.try_into().ok()?);
    let letter = |shift: u16| match (packed >> shift & 31) as u8 {
        n @ 1..=26 => Some(char::from(b'A' + n - 1)),
        _ => None,
    };
    Some([letter(10)?, letter(5)?, letter(0)?].iter().collect())
}

/// The display product name among the four descriptors.
fn model(edid: &[u8]) -> Option<String> {
    let descriptors = edid.get(54..126)?.chunks_exact(18);
    let named = descriptors
        .into_iter()
        .find(|d| d.starts_with(&[0, 0, 0, 0xfc]))?;
    let name = String::from_utf8_lossy(&named[5..]);
    Some(
        name.trim_end()
            .chars()
            .filter(|c| !c.is_control())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edid_gives_names_and_any_bytes_do_no_harm() {
        let mut edid = vec![0; 128];
        edid[8..10].copy_from_slice(&(4u16 << 10 | 5 << 5 | 12).to_be_bytes());
        edid[72..90].copy_from_slice(b"\0\0\0\xfc\0U2415\n       ");
        assert_eq!(maker(&edid).as_deref(), Some("DEL"));
        assert_eq!(model(&edid).as_deref(), Some("U2415"));
        for length in 0..128 {
            let _ = (maker(&edid[..length]), model(&edid[..length]));
        }
        assert_eq!(maker(&[0xff; 128]), None);
    }
}
