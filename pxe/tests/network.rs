//! The service between network namespaces: real dnsmasq, real packets. Needs root and iproute2; skipped otherwise.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};

const DEADLINE: Duration = Duration::from_secs(20);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x0a];

/// Two namespaces joined by a cable; removed with all that runs in them when dropped.
struct Cable {
    server: String,
    client: String,
}

impl Cable {
    /// `None` with a printed reason where this machine does not let us.
    fn lay(name: &str) -> Option<Cable> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root for network namespaces");
            return None;
        }
        let id = std::process::id();
        let cable = Cable {
            server: format!("pxe-{name}-s{id}"),
            client: format!("pxe-{name}-c{id}"),
        };
        if !ip(&format!("netns add {}", cable.server))
            || !ip(&format!("netns add {}", cable.client))
        {
            println!("skipped: cannot make network namespaces (is iproute2 installed?)");
            return None;
        }
        let (server, client) = (&cable.server, &cable.client);
        for command in [
            format!("-n {server} link add s0 type veth peer name c0 netns {client}"),
            format!("-n {server} addr add 10.77.0.1/24 dev s0"),
            format!("-n {server} -6 addr add fd77::1/64 dev s0 nodad"),
            format!("-n {server} link set lo up"),
            format!("-n {server} link set s0 up"),
            format!("-n {client} addr add 10.77.0.250/24 dev c0"),
            format!("-n {client} link set c0 up"),
            format!("-n {client} route add default via 10.77.0.1"),
        ] {
            assert!(ip(&command), "ip {command}");
        }
        Some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.server));
        ip(&format!("netns del {}", self.client));
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip")
        .args(arguments.split(' '))
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Runs something on a thread inside a namespace.
fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    let thread = std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    });
    thread.join().unwrap()
}

fn write_image(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let mut files = Vec::new();
    for (name, role) in [
        ("vmlinuz", "kernel"),
        ("initramfs.zst", "segment"),
        ("heliostat.efi", "uki"),
    ] {
        let content = format!("this is {name}").repeat(1000);
        std::fs::write(directory.join(name), &content).unwrap();
        let sha256: String = Sha256::digest(&content)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let bytes = content.len();
        files.push(format!(
            "{{\"name\":\"{name}\",\"role\":\"{role}\",\"bytes\":{bytes},\"sha256\":\"{sha256}\"}}"
        ));
    }
    let json = format!(
        "{{\"format\":1,\"builder\":\"b\",\"profile\":\"qemu\",\"kernel_version\":\"6.12\",\"cmdline\":\"quiet\",\
         \"site_keys\":[],\"brokers\":[],\"files\":[{}],\"packages\":[],\"warnings\":[],\"segments\":[{{\
         \"name\":\"base\",\"file\":\"initramfs.zst\",\"required\":true,\"unpacked_bytes\":1,\"contents\":[]}}]}}",
        files.join(",")
    );
    std::fs::write(directory.join("manifest.json"), json).unwrap();
}

/// Writes image and config below a directory that other users may enter; returns the config's path.
fn site(dir: &Path, mode: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    write_image(&dir.join("image"));
    let dir = dir.display();
    let config = format!(
        "interface = \"s0\"\nmode = \"{mode}\"\nimage = \"{dir}/image\"\nbroker = [\"10.77.0.1:4460\", \"b.example:4460\"]\n\
         hint_seconds = 1\nrun_dir = \"{dir}/run\"\nstate_dir = \"{dir}/state\"\n{}\
         [[terminal]]\nmac = \"52:54:00:00:00:0a\"\nname = \"desk-a\"\n",
        match mode {
            "dhcp" => "[dhcp]\nrange = \"10.77.0.100-10.77.0.199\"\nrouter_advertisements = true\n",
            _ => "",
        }
    );
    let path = std::path::PathBuf::from(format!("{dir}/pxe.toml"));
    std::fs::write(&path, config).unwrap();
    path
}

/// The service, with its messages.
struct Service {
    child: Child,
    messages: Receiver<String>,
    heard: Vec<String>,
}

impl Service {
    fn start(cable: &Cable, config: &Path) -> Service {
        let mut child = in_server(cable, config, "run")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Service {
            child,
            messages,
            heard: Vec::new(),
        }
    }

    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.heard.iter().any(|line| line.contains(text)) {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.messages.recv_timeout(left);
            self.heard
                .push(line.unwrap_or_else(|_| panic!("no {text:?} in {:#?}", self.heard)));
        }
    }

    fn stop(&mut self) -> std::process::ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

fn in_server(cable: &Cable, config: &Path, word: &str) -> Command {
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        &cable.server,
        env!("CARGO_BIN_EXE_heliostat-pxe"),
        word,
        "--config",
    ]);
    command.arg(config).stdin(Stdio::null());
    command
}

/// What an answer to a DHCP DISCOVER says.
#[derive(Debug)]
struct Offer {
    address: Ipv4Addr,
    file: String,
    options: BTreeMap<u8, Vec<u8>>,
}

/// Asks for an address like the firmware of architecture `arch` does, as iPXE when `ipxe`; takes the first answer.
fn discover(arch: u16, ipxe: bool) -> Offer {
    ask(
        &request(arch, ipxe, Ask::Address),
        SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
    )
}

/// Asks the boot service of a proxy for its file, as firmware does that has an address from elsewhere.
fn boot_service(arch: u16, ipxe: bool) -> Offer {
    let offer = discover(arch, ipxe);
    // BIOS firmware takes the menu's first item; UEFI gets no menu and asks without one.
    let item = offer.options.get(&43).map(|menu| {
        let at = menu.windows(2).position(|w| w == [9, 12]).unwrap();
        [menu[at + 2], menu[at + 3]]
    });
    ask(
        &request(arch, ipxe, Ask::Service(item)),
        SocketAddrV4::new(SERVER, 4011),
    )
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// An address.
    Address,
    /// A file, by the item of a boot menu if there was one.
    Service(Option<[u8; 2]>),
}

/// The port of DHCP clients. Another test may be between fork and exec, its child still holding our last socket.
fn client_socket() -> UdpSocket {
    let end = Instant::now() + DEADLINE;
    loop {
        match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)) {
            Ok(socket) => return socket,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::yield_now();
    }
}

fn ask(packet: &[u8], to: SocketAddrV4) -> Offer {
    let socket = client_socket();
    socket.set_broadcast(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let end = Instant::now() + DEADLINE;
    loop {
        socket.send_to(packet, to).unwrap();
        let mut answer = [0; 2000];
        match socket.recv_from(&mut answer) {
            Ok((length, _)) if answer[4..8] == packet[4..8] => {
                return read_offer(&answer[..length]);
            }
            _ => assert!(Instant::now() < end, "no answer to {packet:02x?}"),
        }
    }
}

fn request(arch: u16, ipxe: bool, what: Ask) -> Vec<u8> {
    let message = if what == Ask::Address { 1 } else { 3 };
    let mut packet = vec![0; 236];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[4..8].copy_from_slice(&[arch as u8 + 1, u8::from(ipxe), message, 4]);
    if message == 3 {
        // The address that another server gave.
        packet[12..16].copy_from_slice(&[10, 77, 0, 250]);
    } else {
        packet[10] = 0x80;
    }
    packet[28..34].copy_from_slice(&MAC);
    packet.extend([99, 130, 83, 99, 53, 1, message]);
    packet.extend([93, 2, (arch >> 8) as u8, arch as u8, 94, 3, 1, 2, 1]);
    packet.extend([97, 17, 0]);
    packet.extend(1..=16);
    packet.extend([55, 6, 1, 3, 12, 43, 60, 67]);
    let class = match arch {
        16 => "HTTPClient:Arch:00016:UNDI:003001".to_owned(),
        _ => format!("PXEClient:Arch:{arch:05}:UNDI:002001"),
    };
    packet.extend([60, class.len() as u8]);
    packet.extend(class.as_bytes());
    if let Ask::Service(Some([high, low])) = what {
        packet.extend([43, 7, 71, 4, high, low, 0, 0, 255]);
    }
    if ipxe {
        packet.extend([175, 3, 0xb0, 1, 1]);
    }
    packet.push(255);
    packet
}

fn read_offer(answer: &[u8]) -> Offer {
    let mut options = BTreeMap::new();
    let mut rest = &answer[240..];
    while let [code, length, tail @ ..] = rest {
        if *code == 255 {
            break;
        }
        let (value, tail) = tail.split_at(usize::from(*length));
        options.insert(*code, value.to_vec());
        rest = tail;
    }
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap()).into_owned()
    };
    let file = options
        .get(&67)
        .map_or_else(|| text(&answer[108..236]), |value| text(value));
    let address = Ipv4Addr::new(answer[16], answer[17], answer[18], answer[19]);
    Offer {
        address,
        file,
        options,
    }
}

fn get(url: &str) -> String {
    let path = url.strip_prefix("http://10.77.0.1:8080").unwrap();
    let mut stream = TcpStream::connect((SERVER, 8080)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{url}: {head}");
    body.to_owned()
}

/// The first block of a file over TFTP.
fn tftp(file: &str) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = [&[0, 1], file.as_bytes(), b"\0octet\0"].concat();
    socket.send_to(&request, (SERVER, 69)).unwrap();
    let mut answer = [0; 600];
    let (length, _) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(
        answer[..4],
        [0, 3, 0, 1],
        "{}",
        String::from_utf8_lossy(&answer[4..length])
    );
    answer[4..length].to_vec()
}

#[test]
fn every_kind_of_firmware_is_led_to_the_image_and_a_signal_ends_it_all() {
    let Some(cable) = Cable::lay("all") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path(), "dhcp");
    let mut service = Service::start(&cable, &config);
    service.wait_for("dnsmasq answers");
    let image = std::fs::read(dir.path().join("image/heliostat.efi")).unwrap();

    inside(&cable.client, move || {
        let ipxe = discover(0, true);
        assert!((100..200).contains(&ipxe.address.octets()[3]), "{ipxe:?}");
        assert_eq!(ipxe.file, "http://10.77.0.1:8080/boot.ipxe");
        assert_eq!(ipxe.options[&224], b"10.77.0.1:4460,b.example:4460");
        assert_eq!(ipxe.options[&12], b"desk-a");
        assert!(
            !ipxe.options.contains_key(&3),
            "nobody asked us to be a router"
        );
        let script = get(&ipxe.file);
        let kernel = script
            .lines()
            .find(|l| l.starts_with("kernel "))
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap();
        assert!(get(kernel).starts_with("this is vmlinuz"));

        let http = discover(16, false);
        assert_eq!(http.options[&60], b"HTTPClient");
        assert_eq!(get(&http.file).as_bytes(), image);
        assert!(discover(7, true).file.ends_with("/boot.ipxe"));
        assert_eq!(tftp(&discover(7, false).file), image[..512]);
        let bios = discover(0, false).file;
        match Path::new("/usr/lib/ipxe/undionly.kpxe").exists() {
            true => assert_eq!((bios.as_str(), tftp(&bios).len()), ("undionly.kpxe", 512)),
            false => assert_eq!(bios, ""),
        }
    });
    service.wait_for("52:54:00:00:00:0a asks for an address");
    service.wait_for("10.77.0.250 gets /boot.ipxe over HTTP");

    assert!(service.stop().success());
    let free = inside(&cable.server, || {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).is_ok()
    });
    assert!(free, "dnsmasq has ended with us");
}

#[test]
fn beside_another_server_only_boot_files_are_given() {
    let Some(cable) = Cable::lay("proxy") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(&cable, &site(dir.path(), "proxy"));
    service.wait_for("dnsmasq answers");
    inside(&cable.client, || {
        for arch in [0, 7] {
            let offer = discover(arch, true);
            assert_eq!(offer.address, Ipv4Addr::UNSPECIFIED, "{offer:?}");
            assert_eq!(offer.options[&60], b"PXEClient");
        }
        for arch in [0, 7, 9] {
            let file = boot_service(arch, true).file;
            assert_eq!(
                file, "http://10.77.0.1:8080/boot.ipxe",
                "architecture {arch}"
            );
        }
        assert!(tftp(&boot_service(7, false).file).starts_with(b"this is heliostat.efi"));
    });
}

#[test]
fn taken_ports_and_a_second_service_are_refused_and_silence_is_spoken_of() {
    let Some(cable) = Cable::lay("taken") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path(), "dhcp");
    let holder = inside(&cable.server, || {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap()
    });
    let output = in_server(&cable, &config, "check").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        text.contains("UDP port 67 for DHCP is taken by")
            && text.contains(&std::process::id().to_string()),
        "{text}"
    );
    drop(holder);
    let output = in_server(&cable, &config, "check").output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut service = Service::start(&cable, &config);
    service.wait_for("nobody has asked for an address on s0 for 1 s");
    let output = in_server(&cable, &config, "run").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && text.contains("another heliostat-pxe runs"),
        "{text}"
    );
}

#[test]
fn a_dnsmasq_that_outlived_its_killed_service_is_replaced() {
    let Some(cable) = Cable::lay("left") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path(), "dhcp");
    let mut killed = Service::start(&cable, &config);
    killed.wait_for("dnsmasq answers");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let mut service = Service::start(&cable, &config);
    service.wait_for("dnsmasq (pid ");
    service.wait_for("dnsmasq answers");
    assert!(service.stop().success());
}
