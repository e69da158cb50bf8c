//! A parameter for vkms: planes that take no YUV, as those of many displays.
//!
//! Planes of vkms take all that it can draw, and nothing says otherwise: neither parameters nor its folder in
//! configfs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The parameter's name.
pub const RGB_ONLY: &str = "rgb_only";
/// The source file with the formats of planes.
const SOURCE: &str = "vkms_plane.c";
/// How planes are told of theirs.
const ALL: &str = "vkms_formats, ARRAY_SIZE(vkms_formats)";
const SOME: &str = "rig_formats, rig_choose_formats()";
/// What follows the list of formats.
const PLACE: &str = "static struct drm_plane_state *";
/// Leaves formats out, where the parameter says so.
const CHOICE: &str = "static bool rgb_only;
module_param(rgb_only, bool, 0444);
MODULE_PARM_DESC(rgb_only, \"Planes take no YUV\");

static u32 rig_formats[ARRAY_SIZE(vkms_formats)];

static unsigned int rig_choose_formats(void)
{
	unsigned int from, count = 0;

	for (from = 0; from < ARRAY_SIZE(vkms_formats); from++) {
		if (!rgb_only || !drm_format_info(vkms_formats[from])->is_yuv)
			rig_formats[count++] = vkms_formats[from];
	}
	return count;
}

";

/// Adds it to the sources in a folder.
pub fn add(folder: &Path) -> Result<()> {
    let path = folder.join(SOURCE);
    let source = fs::read_to_string(&path).with_context(|| format!("read {SOURCE}"))?;
    Ok(fs::write(&path, added(&source)?)?)
}

fn added(source: &str) -> Result<String> {
    for (what, text) in [
        ("the list of formats", ALL),
        ("the place for a choice", PLACE),
    ] {
        ensure!(
            source.contains(text),
            "{SOURCE} is not as it was: {what} is missing"
        );
    }
    let source = source.replacen(ALL, SOME, 1);
    let source = source.replacen(PLACE, &format!("{CHOICE}{PLACE}"), 1);
    Ok(format!("#include <linux/module.h>\n{source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_not_as_they_were_are_not_changed() {
        let source = format!("list;\n{PLACE}\nplane({ALL}, NULL);\n");
        let changed = added(&source).unwrap();
        assert!(changed.contains(SOME) && !changed.contains("plane(vkms_formats"));
        let at = |what: &str| changed.find(what).unwrap();
        assert!(at("list;") < at("rig_choose_formats(void)") && at("(void)") < at(SOME));
        assert!(added(&source.replace(ALL, "formats, count")).is_err());
        assert!(added(&source.replace(PLACE, "")).is_err());
    }
}
