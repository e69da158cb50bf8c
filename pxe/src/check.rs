//! Everything that can be said before serving: all problems at once, not one a start.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Mode};
use crate::dnsmasq::Facts;
use crate::image::{self, Images};
use crate::network::{self, Interface};
use crate::ports::{Transport, available, holders};
use crate::script;

/// What is known when nothing is wrong.
pub struct Ready {
    /// The interface to serve.
    pub interface: Interface,
    /// The images to serve.
    pub images: Images,
    /// Where dnsmasq is.
    pub dnsmasq: PathBuf,
}

/// What was found.
#[derive(Default)]
pub struct Findings {
    /// What must be repaired first.
    pub problems: Vec<String>,
    /// What an administrator should know.
    pub notes: Vec<String>,
}

/// Looks at interface, ports, images and programs.
pub fn check(config: &Config) -> (Option<Ready>, Findings) {
    let mut findings = Findings::default();
    let mut problem = |sentence: String| findings.problems.push(sentence);

    let interface = network::find(&config.interface)
        .map_err(|e| problem(e.to_string()))
        .ok();
    if let Some(interface) = &interface {
        network::misfits(config, interface)
            .into_iter()
            .for_each(&mut problem);
        ports(config, interface.address, &mut problem);
    }
    let images = Images::load(config)
        .map_err(|e| problem(e.to_string()))
        .ok();
    if let Some(images) = &images
        && let Err(error) = images.verify()
    {
        problem(error.to_string());
    }
    // Segments that the image does not have show when the script is made; its address matters not.
    if let Some(images) = &images
        && let Err(error) = script::script(config, "http://server", &images.general, &images.own)
    {
        problem(error.to_string());
    }
    let dnsmasq = program("dnsmasq", &["/usr/sbin", "/usr/local/sbin", "/sbin"]);
    if dnsmasq.is_none() {
        problem("dnsmasq is not installed; it is in the package dnsmasq-base".to_owned());
    }
    findings.notes.extend(other_dnsmasq());
    findings
        .notes
        .extend(images.iter().flat_map(|i| i.notes(config)));
    match (interface, images, dnsmasq) {
        (Some(interface), Some(images), Some(dnsmasq)) => (
            Some(Ready {
                interface,
                images,
                dnsmasq,
            }),
            findings,
        ),
        _ => (None, findings),
    }
}

impl Ready {
    /// What dnsmasq's configuration needs to know.
    pub fn facts(&self, config: &Config) -> Facts {
        Facts {
            address: self.interface.address,
            netmask: self.interface.netmask,
            tftp_root: config.run_dir.join("www"),
            leases: config
                .state_dir
                .join(format!("{}.leases", config.interface)),
            image: self.images.general.id.clone(),
            images_by_mac: self
                .images
                .own
                .iter()
                .map(|(mac, served)| (mac.clone(), served.id.clone()))
                .collect(),
            has_undionly: image::has_undionly(),
        }
    }
}

/// dnsmasq itself shares port 67 with other instances of itself that serve other interfaces, so such are no problem.
fn ports(config: &Config, address: Ipv4Addr, problem: &mut impl FnMut(String)) {
    let purpose = match config.mode {
        Mode::Dhcp(_) => "DHCP",
        Mode::Proxy => "DHCP beside another server",
    };
    let only_dnsmasq = |port| {
        let all = holders(Transport::Udp, port);
        !all.is_empty() && all.iter().all(|h| h.name == "dnsmasq")
    };
    let wanted = [
        (Transport::Udp, Ipv4Addr::UNSPECIFIED, 67, purpose),
        (Transport::Udp, address, 69, "TFTP"),
        (Transport::Tcp, address, config.http_port, "HTTP"),
    ];
    for (transport, address, port, purpose) in wanted {
        if let Err(sentence) = available(transport, address, port, purpose)
            && !(port == 67 && only_dnsmasq(port))
        {
            problem(sentence);
        }
    }
}

fn other_dnsmasq() -> Option<String> {
    let other = holders(Transport::Udp, 67)
        .into_iter()
        .find(|h| h.name == "dnsmasq")?;
    let pid = other.pid;
    Some(format!(
        "another dnsmasq (pid {pid}) answers DHCP on this machine: fine as long as it serves other interfaces"
    ))
}

/// Finds a program in `PATH` or the directories that only root's `PATH` has.
fn program(name: &str, further: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories =
        std::env::split_paths(&path).chain(further.iter().map(|d| Path::new(d).to_owned()));
    directories.map(|d| d.join(name)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::{config_for, write_image};

    #[test]
    fn every_problem_is_reported_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config_for(dir.path());
        config.interface = "nonesuch0".into();
        let (ready, findings) = check(&config);
        assert!(ready.is_none());
        let problems = findings.problems.join("\n");
        assert!(
            problems.contains("no nonesuch0") && problems.contains("no image in"),
            "{problems}"
        );
    }

    #[test]
    fn a_taken_http_port_is_reported_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"kernel");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config_for(dir.path());
        config.http_port = socket.local_addr().unwrap().port();
        let problems = check(&config).1.problems.join("\n");
        assert!(
            problems.contains(&format!("pid {}", std::process::id())),
            "{problems}"
        );
    }
}
