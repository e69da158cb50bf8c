//! A weston whose screen is an RDP connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use hil_rig::namespaces::PEOPLE;

use super::processes::Process;
use super::sway::{Display, become_person, runtime_folder};

/// Starts one that listens on an address. Windows are without a panel above them, and Alt moves them
/// and switches between them, as in a session of ours.
pub fn start(
    folder: &Path,
    (address, port): (IpAddr, u16),
    (w, h): (u32, u32),
) -> anyhow::Result<(Process, Display)> {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let runtime = runtime_folder(folder, "weston-runtime")?;
    let (key, certificate) = identity(&runtime)?;
    let config = folder.join("weston.ini");
    let text = "[core]\n\
         idle-time=0\n\
         [shell]\n\
         panel-position=none\n\
         locking=false\n\
         animation=none\n\
         startup-animation=none\n\
         close-animation=none\n\
         binding-modifier=alt\n";
    std::fs::write(&config, text)?;
    let mut command = Command::new("weston");
    command.arg("--backend=rdp-backend.so");
    command.arg(format!("--config={}", config.display()));
    command.args([format!("--width={w}"), format!("--height={h}")]);
    command.args([format!("--address={address}"), format!("--port={port}")]);
    command.arg("--no-clients-resize");
    command.arg(format!("--rdp-tls-key={}", key.display()));
    command.arg(format!("--rdp-tls-cert={}", certificate.display()));
    command.env("XDG_RUNTIME_DIR", &runtime);
    command.env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY");
    become_person(&mut command);
    let mut process = Process::start("weston", &mut command, folder)?;
    process
        .wait_until(|| Display::in_folder(&runtime).is_some())
        .context("wait for weston")?;
    let display = Display::in_folder(&runtime).context("weston has made no socket")?;
    Ok((process, display))
}

/// A key and a certificate of its own, which RDP asks for.
fn identity(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (key, certificate) = (folder.join("tls.key"), folder.join("tls.crt"));
    let mut command = Command::new("openssl");
    command.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ]);
    command.args(["-subj", "/CN=weston"]);
    command
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.context("run openssl")?;
    ensure!(status.success(), "openssl makes no key for weston");
    let uid = PEOPLE[0].uid;
    for file in [&key, &certificate] {
        std::os::unix::fs::chown(file, Some(uid), Some(uid))?;
    }
    Ok((key, certificate))
}
