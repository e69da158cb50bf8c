//! The desktop that `make install` ships, for sessions of the rig and of `make try`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

/// What stands for the folder of the desktop's files.
const PLACE: &str = "@desktop@";

/// Puts the desktop's files into a folder that everybody reads, and returns its session.toml.
pub fn write(folder: &Path) -> anyhow::Result<String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../server/desktop");
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    let place = folder
        .to_str()
        .context("the desktop's folder has a strange name")?;
    for file in std::fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let file = file?;
        let text = std::fs::read_to_string(file.path())?.replace(PLACE, place);
        let to = folder.join(file.file_name());
        std::fs::write(&to, text)?;
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o644))?;
    }
    Ok(std::fs::read_to_string(folder.join("session.toml"))?)
}
