//! The script that iPXE runs: which kernel, which segments, which command line. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use heliostat_manifest::{Manifest, Role};

use crate::config::{Config, Terminal};

/// An image with the id under which it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its id, part of every path.
    pub id: String,
    /// What it consists of.
    pub manifest: Manifest,
}

/// Why no script could be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The config asks for a segment that the image does not have.
    #[error("segments: the image has no segment {name:?}; it has {}", if .has.is_empty() { "none beside the base" } else { .has })]
    NoSegment {
        /// What was asked for.
        name: String,
        /// What there is, as a list.
        has: String,
    },
    /// The image has no single kernel.
    #[error("the image has no single kernel")]
    NoKernel,
}

/// Writes the script for all terminals: a section each for those with settings of their own, one for the rest.
///
/// `base` is the URL before the paths; `own` holds the images of terminals that do not boot the general one.
pub fn script(
    config: &Config,
    base: &str,
    general: &Served,
    own: &BTreeMap<String, Served>,
) -> Result<String, Error> {
    let mut text = String::from("#!ipxe\n# Written by heliostat-pxe.\n");
    for (index, terminal) in config.terminals.iter().enumerate() {
        let _ = writeln!(
            text,
            "iseq ${{netX/mac}} {} && goto t{index} ||",
            terminal.mac
        );
    }
    text += "goto general\n";
    for (index, terminal) in config.terminals.iter().enumerate() {
        let image = own.get(&terminal.mac).unwrap_or(general);
        let _ = writeln!(text, ":t{index}");
        section(&mut text, config, base, image, Some(terminal))?;
    }
    text += ":general\n";
    section(&mut text, config, base, general, None)?;
    // A terminal keeps trying: whoever repairs the server should not have to walk to every desk.
    text += ":failed\necho Heliostat: the image could not be loaded, trying again in 10 seconds\nsleep 10\n";
    let _ = writeln!(
        text,
        "chain --replace --autofree {base}/boot.ipxe || goto failed"
    );
    Ok(text)
}

fn section(
    text: &mut String,
    config: &Config,
    base: &str,
    image: &Served,
    terminal: Option<&Terminal>,
) -> Result<(), Error> {
    let files = format!("{base}/image/{}", image.id);
    let manifest = &image.manifest;
    let kernel = manifest.file(Role::Kernel).ok_or(Error::NoKernel)?;
    let words = cmdline(config, manifest, terminal);
    let _ = writeln!(
        text,
        "echo Heliostat: loading {} {}",
        manifest.profile, manifest.kernel_version
    );
    if let Some(uki) = manifest.file(Role::Uki) {
        let _ = writeln!(
            text,
            "iseq ${{platform}} efi && chain {files}/{} {words} ||",
            uki.name
        );
    }
    let _ = writeln!(
        text,
        "kernel {files}/{} {words} || goto failed",
        kernel.name
    );
    for file in segment_files(manifest, chosen(config, terminal))? {
        let _ = writeln!(text, "initrd {files}/{file} || goto failed");
    }
    *text += "boot || goto failed\n";
    Ok(())
}

fn chosen<'a>(config: &'a Config, terminal: Option<&'a Terminal>) -> Option<&'a [String]> {
    terminal
        .and_then(|t| t.segments.as_deref())
        .or(config.segments.as_deref())
}

/// The files to load: the required segments, and those chosen, in the image's order.
fn segment_files<'a>(
    manifest: &'a Manifest,
    chosen: Option<&[String]>,
) -> Result<Vec<&'a str>, Error> {
    let optional = || {
        manifest
            .segments
            .iter()
            .filter(|s| !s.required)
            .map(|s| s.name.as_str())
    };
    if let Some(name) = chosen
        .unwrap_or_default()
        .iter()
        .find(|name| !optional().any(|s| s == *name))
    {
        return Err(Error::NoSegment {
            name: name.clone(),
            has: optional().collect::<Vec<_>>().join(", "),
        });
    }
    let wanted = |name: &String| chosen.is_none_or(|chosen| chosen.contains(name));
    Ok(manifest
        .segments
        .iter()
        .filter(|s| s.required || wanted(&s.name))
        .map(|s| s.file.as_str())
        .collect())
}

/// The kernel command line: the image's, the site's, the terminal's; a site's broker replaces the image's.
fn cmdline(config: &Config, manifest: &Manifest, terminal: Option<&Terminal>) -> String {
    let of_image = manifest.cmdline.split_whitespace();
    let kept =
        of_image.filter(|w| config.brokers.is_empty() || !w.starts_with("heliostat.broker="));
    let mut words: Vec<String> = kept.map(str::to_owned).collect();
    words.push("BOOTIF=01-${netX/mac:hexhyp}".to_owned());
    if !config.brokers.is_empty() {
        words.push(format!("heliostat.broker={}", config.brokers.join(",")));
    }
    if !config.site_keys.is_empty() {
        words.push(format!("heliostat.site_key={}", config.site_keys.join(",")));
    }
    words.extend(
        terminal
            .and_then(|t| t.name.as_ref())
            .map(|name| format!("heliostat.name={name}")),
    );
    words.push(config.cmdline.clone());
    words.extend(terminal.map(|t| t.cmdline.clone()));
    words.retain(|w| !w.is_empty());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Served {
        let file = |name: &str, role: &str| {
            format!(
                "{{\"name\":\"{name}\",\"role\":\"{role}\",\"bytes\":1,\"sha256\":\"{}\"}}",
                "0".repeat(64)
            )
        };
        let segment = |name: &str, file: &str, required: bool| {
            format!(
                "{{\"name\":\"{name}\",\"file\":\"{file}\",\"required\":{required},\"unpacked_bytes\":1,\"contents\":[]}}"
            )
        };
        let files = [
            file("vmlinuz", "kernel"),
            file("initramfs.zst", "segment"),
            file("initramfs-amd.zst", "segment"),
            file("heliostat.efi", "uki"),
        ];
        let segments = [
            segment("base", "initramfs.zst", true),
            segment("amd", "initramfs-amd.zst", false),
        ];
        let json = format!(
            "{{\"format\":1,\"builder\":\"b\",\"profile\":\"qemu\",\"kernel_version\":\"6.12\",\
             \"cmdline\":\"quiet heliostat.broker=old:1\",\"site_keys\":[],\"brokers\":[],\
             \"files\":[{}],\"segments\":[{}],\"packages\":[],\"warnings\":[]}}",
            files.join(","),
            segments.join(",")
        );
        Served {
            id: "abcd".into(),
            manifest: Manifest::parse(json.as_bytes()).unwrap(),
        }
    }

    fn config(rest: &str) -> Config {
        Config::parse(
            "t",
            &format!("interface = \"b\"\nmode = \"proxy\"\nimage = \"/i\"\n{rest}"),
        )
        .unwrap()
    }

    #[test]
    fn the_whole_script_reads_like_this() {
        let config = config(
            "broker = [\"10.0.0.1:4460\"]\ncmdline = \"console=ttyS0\"\n\
             [[terminal]]\nmac = \"52:54:00:00:00:0a\"\nname = \"a\"\nsegments = []\n",
        );
        let expected = "\
#!ipxe
# Written by heliostat-pxe.
iseq ${netX/mac} 52:54:00:00:00:0a && goto t0 ||
goto general
:t0
echo Heliostat: loading qemu 6.12
iseq ${platform} efi && chain B/image/abcd/heliostat.efi quiet BOOTIF=01-${netX/mac:hexhyp} heliostat.broker=10.0.0.1:4460 heliostat.name=a console=ttyS0 ||
kernel B/image/abcd/vmlinuz quiet BOOTIF=01-${netX/mac:hexhyp} heliostat.broker=10.0.0.1:4460 heliostat.name=a console=ttyS0 || goto failed
initrd B/image/abcd/initramfs.zst || goto failed
boot || goto failed
:general
echo Heliostat: loading qemu 6.12
iseq ${platform} efi && chain B/image/abcd/heliostat.efi quiet BOOTIF=01-${netX/mac:hexhyp} heliostat.broker=10.0.0.1:4460 console=ttyS0 ||
kernel B/image/abcd/vmlinuz quiet BOOTIF=01-${netX/mac:hexhyp} heliostat.broker=10.0.0.1:4460 console=ttyS0 || goto failed
initrd B/image/abcd/initramfs.zst || goto failed
initrd B/image/abcd/initramfs-amd.zst || goto failed
boot || goto failed
:failed
echo Heliostat: the image could not be loaded, trying again in 10 seconds
sleep 10
chain --replace --autofree B/boot.ipxe || goto failed
";
        assert_eq!(
            script(&config, "B", &served(), &BTreeMap::new()).unwrap(),
            expected
        );
    }

    #[test]
    fn a_segment_that_the_image_lacks_is_refused_with_what_it_has() {
        let error = script(
            &config("segments = [\"amdd\"]\n"),
            "B",
            &served(),
            &BTreeMap::new(),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "segments: the image has no segment \"amdd\"; it has amd"
        );
    }

    #[test]
    fn the_broker_of_the_image_stays_unless_the_site_names_one() {
        let script = script(&config(""), "B", &served(), &BTreeMap::new()).unwrap();
        assert!(script.contains("heliostat.broker=old:1"), "{script}");
    }
}
