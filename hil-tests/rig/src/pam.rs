//! PAM services for sites of tests: the system's modules, and nothing that only an installed
//! Heliostat has in /etc/pam.d.

use std::path::Path;

use anyhow::Context;

const RULES: &str = "auth required pam_unix.so\n\
                     account required pam_unix.so\n\
                     password required pam_unix.so\n\
                     session required pam_env.so\n";

/// Writes the services below `folder`, and gives the lines of broker.toml that name them.
pub fn write(folder: &Path) -> anyhow::Result<String> {
    let services = folder.join("pam.d");
    std::fs::create_dir_all(&services)
        .with_context(|| format!("cannot make {}", services.display()))?;
    for service in ["heliostat", "heliostat-greeter"] {
        std::fs::write(services.join(service), RULES)?;
    }
    Ok(format!("[pam]\nservices = {services:?}\n"))
}
