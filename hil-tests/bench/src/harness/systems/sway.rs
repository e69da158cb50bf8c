//! A sway without a screen.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use hil_rig::namespaces::PEOPLE;

use super::processes::Process;

/// Where clients of a compositor find it.
pub struct Display {
    runtime: PathBuf,
    name: String,
}

impl Display {
    /// The one that has its socket in a runtime folder; none yet while there is no socket.
    pub fn in_folder(runtime: &Path) -> Option<Self> {
        let names = std::fs::read_dir(runtime).ok()?.flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let name = names.find(|name| name.starts_with("wayland-") && !name.ends_with(".lock"))?;
        let runtime = runtime.to_owned();
        Some(Self { runtime, name })
    }

    /// Makes a command a client, of the same person.
    pub fn set(&self, command: &mut Command) {
        self.point(command);
        become_person(command);
    }

    /// Makes a command a client.
    pub fn point(&self, command: &mut Command) {
        command.env("XDG_RUNTIME_DIR", &self.runtime);
        command.env("WAYLAND_DISPLAY", &self.name);
    }
}

/// A folder for the sockets of a person's programs.
pub fn runtime_folder(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let runtime = folder.join(name);
    std::fs::create_dir(&runtime)?;
    std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o700))?;
    let uid = PEOPLE[0].uid;
    std::os::unix::fs::chown(&runtime, Some(uid), Some(uid))?;
    Ok(runtime)
}

/// Compositors do not run as root.
pub fn become_person(command: &mut Command) {
    let uid = PEOPLE[0].uid;
    command.uid(uid).gid(uid).env("HOME", "/run/home/alice");
}

/// Starts one. Windows are without borders, and Alt moves floating ones and switches between full
/// ones, as in a session of ours.
pub fn start(name: &str, folder: &Path, (w, h): (u32, u32)) -> anyhow::Result<(Process, Display)> {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    let runtime = runtime_folder(folder, &format!("{name}-runtime"))?;
    let config = folder.join(format!("{name}.config"));
    let text = format!(
        "output HEADLESS-1 mode {w}x{h}@60Hz\n\
         default_border none\n\
         default_floating_border none\n\
         floating_modifier Mod1 normal\n\
         xwayland disable\n\
         seat * hide_cursor 100\n\
         bindsym Mod1+Tab workspace back_and_forth\n\
         for_window [app_id=\"hil-over\" title=\"hil-over\"] floating enable\n\
         for_window [app_id=\"hil-page\"] move container to workspace 2, workspace 2\n"
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new("sway");
    command.arg("--config").arg(&config);
    command.env("XDG_RUNTIME_DIR", &runtime);
    command.env("WLR_BACKENDS", "headless");
    command.env("WLR_LIBINPUT_NO_DEVICES", "1");
    command.env("WLR_RENDERER", "pixman");
    command.env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY");
    become_person(&mut command);
    let mut process = Process::start(name, &mut command, folder)?;
    process
        .wait_until(|| Display::in_folder(&runtime).is_some())
        .context("wait for sway")?;
    let display = Display::in_folder(&runtime).context("sway has made no socket")?;
    Ok((process, display))
}
