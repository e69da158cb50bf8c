//! The configuration that dnsmasq gets. Pure: the same input gives the same text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Dhcp, Mode};

/// What the configuration needs beside the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Our IPv4 address on the interface.
    pub address: Ipv4Addr,
    /// The interface's netmask.
    pub netmask: Ipv4Addr,
    /// The directory that TFTP serves.
    pub tftp_root: PathBuf,
    /// The file for leases.
    pub leases: PathBuf,
    /// The id of the image for terminals that name no other.
    pub image: String,
    /// The ids of the images of terminals that do, by MAC address.
    pub images_by_mac: BTreeMap<String, String>,
    /// Whether TFTP has an `undionly.kpxe` for firmware that is not iPXE.
    pub has_undionly: bool,
}

/// The file that plain PXE firmware on BIOS machines loads.
pub const UNDIONLY: &str = "undionly.kpxe";

/// The DHCP option that names the brokers.
pub const BROKER_OPTION: u8 = 224;

/// Writes dnsmasq's configuration.
pub fn configuration(config: &Config, facts: &Facts) -> String {
    let mut text =
        String::from("# Written by heliostat-pxe at every start; changes here are lost.\n");
    general(&mut text, config, facts);
    match &config.mode {
        Mode::Dhcp(dhcp) => addresses(&mut text, config, dhcp, facts),
        Mode::Proxy => line(
            &mut text,
            format_args!("dhcp-range={},proxy,{}", network(facts), facts.netmask),
        ),
    }
    firmware_tags(&mut text);
    terminals(&mut text, config, facts);
    match &config.mode {
        Mode::Dhcp(_) => boot_files(&mut text, config, facts),
        Mode::Proxy => boot_services(&mut text, config, facts),
    }
    text
}

/// The URL of the script that iPXE runs.
pub fn script_url(config: &Config, facts: &Facts) -> String {
    format!("http://{}:{}/boot.ipxe", facts.address, config.http_port)
}

/// The path of an image's EFI program, for HTTP and TFTP alike.
pub fn uki_path(image: &str) -> String {
    format!("image/{image}/heliostat.efi")
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes everything");
    text.push('\n');
}

fn general(text: &mut String, config: &Config, facts: &Facts) {
    line(text, format_args!("port=0"));
    line(text, format_args!("interface={}", config.interface));
    // Other instances may serve other interfaces of this machine.
    line(text, format_args!("bind-interfaces\nexcept-interface=lo"));
    line(text, format_args!("no-hosts\nno-resolv\nlog-dhcp"));
    line(
        text,
        format_args!(
            "enable-tftp\ntftp-root={}\ntftp-no-fail",
            facts.tftp_root.display()
        ),
    );
    line(
        text,
        format_args!("dhcp-leasefile={}", facts.leases.display()),
    );
    if !config.brokers.is_empty() {
        line(
            text,
            format_args!(
                "dhcp-option-force={BROKER_OPTION},\"{}\"",
                config.brokers.join(",")
            ),
        );
    }
}

fn addresses(text: &mut String, config: &Config, dhcp: &Dhcp, facts: &Facts) {
    let Dhcp {
        first,
        last,
        lease_minutes,
        ..
    } = dhcp;
    line(
        text,
        format_args!(
            "dhcp-range={first},{last},{},{lease_minutes}m",
            facts.netmask
        ),
    );
    // Asking the network whether an address is free costs seconds of a terminal's boot, and we are the only server.
    line(text, format_args!("dhcp-authoritative\nno-ping"));
    match dhcp.router {
        Some(router) => line(text, format_args!("dhcp-option=option:router,{router}")),
        // Without this line dnsmasq would name itself.
        None => line(text, format_args!("dhcp-option=option:router")),
    }
    if !dhcp.dns.is_empty() {
        let servers: Vec<String> = dhcp.dns.iter().map(Ipv4Addr::to_string).collect();
        line(
            text,
            format_args!("dhcp-option=option:dns-server,{}", servers.join(",")),
        );
    }
    if let Some(domain) = &dhcp.domain {
        line(text, format_args!("domain={domain}"));
    }
    if dhcp.router_advertisements {
        // iPXE waits for a router before it speaks HTTP, some 13 s; a lifetime of 0 makes nobody a router.
        let interface = &config.interface;
        line(
            text,
            format_args!("enable-ra\ndhcp-range=::,constructor:{interface},ra-only,64"),
        );
        line(text, format_args!("ra-param={interface},10,0"));
    }
}

/// Who is asking: iPXE (its option 175), BIOS firmware, UEFI firmware over TFTP (7, 9), UEFI HTTP boot (16).
fn firmware_tags(text: &mut String) {
    line(
        text,
        format_args!("dhcp-match=set:ipxe,175\ndhcp-match=set:bios,option:client-arch,0"),
    );
    for arch in [7, 9] {
        line(
            text,
            format_args!("dhcp-match=set:efi,option:client-arch,{arch}"),
        );
    }
    line(
        text,
        format_args!("dhcp-match=set:efihttp,option:client-arch,16"),
    );
}

fn terminals(text: &mut String, config: &Config, facts: &Facts) {
    for (index, terminal) in config.terminals.iter().enumerate() {
        let mut host = terminal.mac.clone();
        if facts.images_by_mac.contains_key(&terminal.mac) {
            let _ = write!(host, ",set:t{index}");
        }
        host.extend(terminal.address.map(|address| format!(",{address}")));
        host.extend(terminal.name.as_ref().map(|name| format!(",{name}")));
        if host != terminal.mac {
            line(text, format_args!("dhcp-host={host}"));
        }
    }
}

/// The image by tag: terminals with an image of their own first, then everybody else.
fn images<'a>(config: &'a Config, facts: &'a Facts) -> Vec<(String, &'a str)> {
    let own = |(index, terminal): (usize, &crate::config::Terminal)| {
        let image = facts.images_by_mac.get(&terminal.mac)?;
        Some((format!("tag:t{index}"), image.as_str()))
    };
    let mut images: Vec<(String, &str)> = config
        .terminals
        .iter()
        .enumerate()
        .filter_map(own)
        .collect();
    let others: Vec<String> = images
        .iter()
        .map(|(tag, _)| tag.replace("tag:", "tag:!"))
        .collect();
    images.push((others.join(","), &facts.image));
    images
}

fn boot_files(text: &mut String, config: &Config, facts: &Facts) {
    line(
        text,
        format_args!("dhcp-boot=tag:ipxe,{}", script_url(config, facts)),
    );
    if facts.has_undionly {
        line(
            text,
            format_args!("dhcp-boot=tag:bios,tag:!ipxe,{UNDIONLY}"),
        );
    }
    for (tag, image) in images(config, facts) {
        let tag = if tag.is_empty() {
            tag
        } else {
            format!("{tag},")
        };
        let (path, address, port) = (uki_path(image), facts.address, config.http_port);
        line(
            text,
            format_args!("dhcp-boot={tag}tag:efi,tag:!ipxe,{path}"),
        );
        line(
            text,
            format_args!("dhcp-boot={tag}tag:efihttp,tag:!ipxe,http://{address}:{port}/{path}"),
        );
    }
    // UEFI takes an offer for HTTP boot only from a server that calls itself so.
    line(
        text,
        format_args!("dhcp-option-force=tag:efihttp,60,HTTPClient"),
    );
}

/// In proxy mode dnsmasq gives out file names only as boot services; UEFI HTTP boot is beyond it.
fn boot_services(text: &mut String, config: &Config, facts: &Facts) {
    let script = script_url(config, facts);
    line(
        text,
        format_args!("pxe-service=tag:ipxe,x86PC,\"Heliostat\",{script}"),
    );
    for arch in [7, 9] {
        line(
            text,
            format_args!("pxe-service=tag:ipxe,{arch},\"Heliostat\",{script}"),
        );
    }
    if facts.has_undionly {
        line(
            text,
            format_args!("pxe-service=tag:!ipxe,x86PC,\"Heliostat\",{UNDIONLY}"),
        );
    }
    for (tag, image) in images(config, facts) {
        let tag = if tag.is_empty() {
            tag
        } else {
            format!("{tag},")
        };
        for arch in [7, 9] {
            line(
                text,
                format_args!(
                    "pxe-service={tag}tag:!ipxe,{arch},\"Heliostat\",{}",
                    uki_path(image)
                ),
            );
        }
    }
}

fn network(facts: &Facts) -> Ipv4Addr {
    Ipv4Addr::from_bits(facts.address.to_bits() & facts.netmask.to_bits())
}

/// Whether dnsmasq itself accepts a configuration file; its complaint otherwise.
pub fn test(program: &Path, file: &Path) -> std::io::Result<Result<(), String>> {
    let output = std::process::Command::new(program)
        .arg("--test")
        .arg(format!("--conf-file={}", file.display()))
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(if output.status.success() {
        Ok(())
    } else {
        Err(complaint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        interface = "br0"
        mode = "dhcp"
        image = "/img"
        broker = ["10.77.0.1:4460", "b.example:4460"]
        [dhcp]
        range = "10.77.0.100-10.77.0.199"
        lease_minutes = 60
        dns = ["10.77.0.1", "10.77.0.2"]
        domain = "example.org"
        router_advertisements = true
        [[terminal]]
        mac = "52:54:00:00:00:0a"
        name = "a"
        address = "10.77.0.10"
        [[terminal]]
        mac = "52:54:00:00:00:0b"
        image = "/other"
    "#;

    fn facts() -> Facts {
        Facts {
            address: Ipv4Addr::new(10, 77, 0, 1),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            tftp_root: "/run/x/www".into(),
            leases: "/var/lib/x/leases".into(),
            image: "aaaa".into(),
            images_by_mac: BTreeMap::from([("52:54:00:00:00:0b".to_owned(), "bbbb".to_owned())]),
            has_undionly: true,
        }
    }

    fn proxy() -> Config {
        let text = "interface = \"br0\"\nmode = \"proxy\"\nimage = \"/img\"\n[[terminal]]\nmac = \"52:54:00:00:00:0b\"\n";
        Config::parse("t", text).unwrap()
    }

    #[test]
    fn a_server_of_its_own_is_configured_like_this() {
        let config = Config::parse("t", CONFIG).unwrap();
        let expected = "\
# Written by heliostat-pxe at every start; changes here are lost.
port=0
interface=br0
bind-interfaces
except-interface=lo
no-hosts
no-resolv
log-dhcp
enable-tftp
tftp-root=/run/x/www
tftp-no-fail
dhcp-leasefile=/var/lib/x/leases
dhcp-option-force=224,\"10.77.0.1:4460,b.example:4460\"
dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,60m
dhcp-authoritative
no-ping
dhcp-option=option:router
dhcp-option=option:dns-server,10.77.0.1,10.77.0.2
domain=example.org
enable-ra
dhcp-range=::,constructor:br0,ra-only,64
ra-param=br0,10,0
dhcp-match=set:ipxe,175
dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:efi,option:client-arch,7
dhcp-match=set:efi,option:client-arch,9
dhcp-match=set:efihttp,option:client-arch,16
dhcp-host=52:54:00:00:00:0a,10.77.0.10,a
dhcp-host=52:54:00:00:00:0b,set:t1
dhcp-boot=tag:ipxe,http://10.77.0.1:8080/boot.ipxe
dhcp-boot=tag:bios,tag:!ipxe,undionly.kpxe
dhcp-boot=tag:t1,tag:efi,tag:!ipxe,image/bbbb/heliostat.efi
dhcp-boot=tag:t1,tag:efihttp,tag:!ipxe,http://10.77.0.1:8080/image/bbbb/heliostat.efi
dhcp-boot=tag:!t1,tag:efi,tag:!ipxe,image/aaaa/heliostat.efi
dhcp-boot=tag:!t1,tag:efihttp,tag:!ipxe,http://10.77.0.1:8080/image/aaaa/heliostat.efi
dhcp-option-force=tag:efihttp,60,HTTPClient
";
        assert_eq!(configuration(&config, &facts()), expected);
    }

    #[test]
    fn beside_another_server_nothing_hands_out_addresses() {
        let text = configuration(&proxy(), &facts());
        assert!(
            text.contains("dhcp-range=10.77.0.0,proxy,255.255.255.0\n"),
            "{text}"
        );
        assert!(
            !text.contains("dhcp-authoritative") && !text.contains("option:router"),
            "{text}"
        );
        assert!(
            text.contains(
                "pxe-service=tag:ipxe,x86PC,\"Heliostat\",http://10.77.0.1:8080/boot.ipxe\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn dnsmasq_accepts_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        for config in [Config::parse("t", CONFIG).unwrap(), proxy()] {
            let file = dir.path().join("dnsmasq.conf");
            std::fs::write(&file, configuration(&config, &facts())).unwrap();
            match test(Path::new("dnsmasq"), &file) {
                Err(error) => {
                    return println!("skipped: cannot run dnsmasq ({error}); install dnsmasq-base");
                }
                Ok(verdict) => verdict.unwrap(),
            }
            std::fs::write(&file, "dhcp-rangee=1\n").unwrap();
            assert!(test(Path::new("dnsmasq"), &file).unwrap().is_err());
        }
    }
}
