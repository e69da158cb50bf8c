//! What a graphics device says of itself, for people.

use std::fmt::Write as _;

use drm::Device as _;
use drm::control::{Device as _, connector};
use heliostat_va::dmabuf;
use heliostat_wire::id::OutputId;

use super::Kms;
use super::planes::{self, Kind, VideoPlane};
use crate::geometry::Rect;
use crate::planes::{Arrangement, Format, Heights, LINEAR, UNSAID, Wanted, Why, plan};

impl Kms {
    /// Card, connectors and planes, in lines.
    pub fn describe(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let driver = self.device.get_driver()?;
        let (name, about) = (driver.name().to_string_lossy(), driver.description());
        writeln!(
            text,
            "card: {} ({name}: {})",
            self.path.display(),
            about.to_string_lossy()
        )?;
        let resources = self.device.resource_handles()?;
        for handle in resources.connectors() {
            let info = self.device.get_connector(*handle, false)?;
            let name = format!("{}-{}", info.interface().as_str(), info.interface_id());
            let screen = self.screens.iter().find(|screen| screen.name() == name);
            let size = screen.map(|screen| screen.size());
            match (info.state(), size) {
                (_, Some(size)) => writeln!(text, "connector {name}: {}×{}", size.w, size.h)?,
                (connector::State::Connected, None) => {
                    writeln!(text, "connector {name}: connected, but cannot be lit")?;
                }
                _ => writeln!(text, "connector {name}: no screen")?,
            }
        }
        for plane in planes::all(&self.device)? {
            describe_plane(&mut text, &plane, resources.crtcs())?;
        }
        Ok(text)
    }

    /// Whether layouts can be tried: the screens are not another program's.
    pub fn is_master(&self) -> bool {
        self.device.is_master()
    }

    /// How videos would be shown if the driver did all that its planes say.
    pub fn arrange_untried(&self, output: OutputId, wanted: &[Wanted]) -> Arrangement {
        let screen = self.screens.iter().find(|screen| screen.id() == output);
        let (Some(planes), Some(screen)) = (self.planes(output), screen) else {
            return Arrangement::copied(wanted, Why::NoPlanes);
        };
        let size = screen.size();
        plan(Rect::of_size(size.w, size.h), &planes, wanted, &mut |_| {
            true
        })
    }
}

fn describe_plane(
    text: &mut String,
    plane: &VideoPlane,
    crtcs: &[drm::control::crtc::Handle],
) -> std::fmt::Result {
    let kind = match plane.kind {
        Kind::Primary => "primary",
        Kind::Overlay => "overlay",
        Kind::Cursor => "cursor",
    };
    let of: Vec<String> = crtcs
        .iter()
        .enumerate()
        .filter(|(_, crtc)| plane.crtcs.contains(crtc))
        .map(|(index, _)| index.to_string())
        .collect();
    let height = match plane.caps.heights {
        Heights::Unsaid => "not said".to_owned(),
        Heights::Fixed(height) => height.to_string(),
        Heights::Range(least, most) => format!("{least} to {most}"),
    };
    let colours = match plane.colours {
        Some(_) => "BT.709 in limited range",
        None => "cannot be chosen",
    };
    let (id, of) = (plane.caps.id.0, of.join(", "));
    writeln!(
        text,
        "plane {id}: {kind}, of CRTC {of}; zpos {height}; colours of video: {colours}"
    )?;
    writeln!(text, "  shows {}", shows(&plane.caps.formats))
}

/// Formats by their names, those together that lie in the same ways, which is what modifiers say.
fn shows(formats: &[Format]) -> String {
    let mut groups: Vec<(Vec<u64>, Vec<String>)> = Vec::new();
    let mut codes: Vec<u32> = formats.iter().map(|format| format.code).collect();
    codes.sort_by_key(|code| dmabuf::name(*code));
    codes.dedup();
    for code in codes {
        let of_code = formats.iter().filter(|format| format.code == code);
        let mut modifiers: Vec<u64> = of_code.map(|format| format.modifier).collect();
        modifiers.sort_unstable();
        modifiers.dedup();
        let name = dmabuf::name(code);
        match groups.iter_mut().find(|(known, _)| *known == modifiers) {
            Some((_, names)) => names.push(name),
            None => groups.push((modifiers, vec![name])),
        }
    }
    let told = groups.into_iter().map(|(modifiers, names)| {
        let modifiers: Vec<String> = modifiers.into_iter().map(modifier).collect();
        format!("{} ({})", names.join(" "), modifiers.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}

fn modifier(modifier: u64) -> String {
    match modifier {
        LINEAR => "linear".to_owned(),
        UNSAID => "not said".to_owned(),
        other => format!("{other:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_with_the_same_modifiers_are_told_together() {
        let format = |code: &[u8; 4], modifier| Format {
            code: u32::from_le_bytes(*code),
            modifier,
        };
        let formats = [
            format(b"XR24", LINEAR),
            format(b"NV12", 0x0100_0000_0000_0002),
            format(b"AR24", LINEAR),
            format(b"NV12", LINEAR),
            format(b"AR24", LINEAR),
            format(b"P010", UNSAID),
        ];
        assert_eq!(
            shows(&formats),
            "AR24 XR24 (linear); NV12 (linear, 0x100000000000002); P010 (not said)"
        );
    }
}
