//! What an administrator is told of the device, and what may be done about it.

use std::fmt::Write;
use std::io::ErrorKind;

use heliostat_va::Error;
use heliostat_va::dmabuf::{LINEAR, name};

use super::RenderNode;
use super::device::{Device, NoDevice};
use super::timelines::{NoTimelines, Timelines};

/// Looks for the device that a session would use. Says what was found and which way films take, and
/// whether that is the hardware's.
pub fn check(wanted: &RenderNode) -> (String, bool) {
    let found = match wanted {
        RenderNode::Off | RenderNode::Read => {
            let text = "no device is wanted by the configuration (render_node)\n";
            return (format!("{text}{}", way(None)), false);
        }
        #[cfg(test)]
        RenderNode::ReadByFake => return (way(None), false),
        wanted => Device::find(wanted),
    };
    match found {
        Ok(device) => (describe(&device), true),
        Err(why) => {
            let mut text = String::new();
            for why in &why {
                let _ = writeln!(text, "{why}");
                if let NoDevice::NoPath { probe, .. } = why {
                    let _ = write!(text, "{probe}");
                }
                let _ = writeln!(text, "  {}", advice(why));
            }
            (text + &way(None), false)
        }
    }
}

fn describe(device: &Device) -> String {
    // What is not linear may be encoded all the same.
    let has_others = device
        .path
        .modifiers
        .iter()
        .any(|modifier| *modifier != LINEAR);
    let formats = device.formats().into_iter();
    let formats = formats.filter(|(_, linear)| *linear || has_others);
    let formats: Vec<_> = formats.map(|(format, _)| name(format.drm)).collect();
    let formats = match formats.is_empty() {
        true => "nothing".to_owned(),
        false => formats.join(", "),
    };
    let (major, minor) = (device.number >> 8 & 0xfff, device.number & 0xff);
    format!(
        "render node: {} ({major}:{minor})\n{}encoded without a copy: {}\n{}{}{}",
        device.node.display(),
        device.probe,
        formats,
        device.linear,
        explicit(&device.timelines),
        way(Some(device)),
    )
}

/// Whether clients may say themselves when their buffers are drawn.
fn explicit(timelines: &Result<Timelines, NoTimelines>) -> String {
    match timelines {
        Ok(_) => "explicit synchronisation: offered to clients (linux-drm-syncobj-v1)\n".to_owned(),
        Err(why) => format!("explicit synchronisation: not offered to clients, for {why}\n"),
    }
}

fn way(device: Option<&Device>) -> String {
    match device {
        Some(device) => format!("way of films: {}\n", device.path),
        None => "way of films: the processor encodes them, from shared memory\n".to_owned(),
    }
}

fn advice(why: &NoDevice) -> &'static str {
    match why {
        NoDevice::NoNode => {
            "to be done: nothing where there is no graphics device; else look whether its kernel \
             driver is loaded, and whether /dev/dri is there in this container"
        }
        NoDevice::Closed { error, .. } => match error.kind() {
            ErrorKind::PermissionDenied => {
                "to be done: let the person open it, usually by the group `render`"
            }
            _ => "to be done: name one that is there with --render-node or render_node",
        },
        NoDevice::NoDriver { error, .. } => match error {
            Error::Missing(_) | Error::Lacks(_) => {
                "to be done: install libva (libva2 and libva-drm2) 2.8 or newer"
            }
            _ => {
                "to be done: install the device's VA driver (mesa-va-drivers, \
                 intel-media-va-driver), and look whether vainfo works for this person"
            }
        },
        NoDevice::Silent => {
            "to be done: look whether vainfo ends for this person, and what the kernel says of the \
             device (dmesg)"
        }
        NoDevice::NoPath { .. } => {
            "to be done: a driver with H.264 encoding, if the device can do it; distributions leave \
             it out of some"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_device_without_timelines_says_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = Timelines::open(file.path());
        let said = explicit(&plain);
        assert!(
            said.contains("not offered") && said.contains("DRM_CAP"),
            "{said}"
        );
        let missing = explicit(&Timelines::open("/nowhere".as_ref()));
        assert!(missing.contains("cannot be opened"), "{missing}");
        assert!(explicit(&Ok(Timelines::pretended())).contains("linux-drm-syncobj-v1"));
    }

    #[test]
    fn whatever_is_missing_is_said_with_what_may_be_done() {
        let (text, is_taken) = check(&RenderNode::Path("/nowhere".into()));
        assert!(!is_taken);
        for word in [
            "/nowhere cannot be opened",
            "to be done",
            "processor encodes",
        ] {
            assert!(text.contains(word), "{text}");
        }
        let (text, is_taken) = check(&RenderNode::Off);
        assert!(!is_taken && text.contains("no device is wanted"), "{text}");
        let node = PathBuf::from("/dev/dri/renderD128");
        let error = std::io::Error::from(ErrorKind::PermissionDenied);
        assert!(advice(&NoDevice::Closed { node, error }).contains("group"));
    }
}
