//! The unified kernel image: systemd's EFI stub with kernel, initramfs and command line as further PE sections.
//!
//! A PE file is headers, a section table, then the sections' bytes. Sections are added behind the last one, in
//! memory as in the file; where the section table would grow into the first section's bytes, all bytes move back.
//! The stub finds its payload by section name in its own memory, with `VirtualSize` as the length.

use std::ops::Range;

/// A section to add.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// At most 8 bytes, with the dot.
    pub name: &'a str,
    /// Its content.
    pub data: &'a [u8],
}

/// Why a stub could not be extended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not a PE32+ program, or cut off.
    #[error("the EFI stub is not a PE32+ program: {0}")]
    NotPe(&'static str),
    /// It is signed; the signature would not fit what comes out.
    #[error("the EFI stub is already signed, use the unsigned one")]
    Signed,
    /// A section name that is empty or longer than 8 bytes, or already there.
    #[error("{0:?} is not a name for a further section")]
    Name(String),
    /// The section table would grow into the first section's memory.
    #[error("the EFI stub leaves no room for {0} further sections")]
    NoRoom(usize),
    /// A section that should be there is not, or others follow it.
    #[error(
        "the EFI program does not end with the section {0}: it was not made by heliostat-image"
    )]
    NotOurs(String),
    /// More than 4 GiB.
    #[error("the image would be larger than 4 GiB")]
    TooLarge,
}

const SECTION_HEADER: usize = 40;
/// Offsets in the optional header of PE32+.
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const SIZE_OF_INITIALIZED_DATA: usize = 8;
const SIZE_OF_IMAGE: usize = 56;
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;
const CERTIFICATE_TABLE: usize = 112 + 4 * 8;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`
const READABLE_DATA: u32 = 0x4000_0040;

/// Where things are in the stub.
struct Layout {
    /// File offset of the COFF header.
    coff: usize,
    /// File offset of the optional header.
    optional: usize,
    /// File offsets of the section table.
    table: Range<usize>,
    section_alignment: usize,
    file_alignment: usize,
    headers: usize,
    /// The end of the last section in memory.
    memory_end: usize,
    /// The lowest address of a section in memory.
    memory_start: usize,
    /// The end of the last section's bytes in the file.
    file_end: usize,
}

/// Adds the sections to the stub, in order.
pub fn add_sections(stub: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, Error> {
    let layout = layout(stub)?;
    sections
        .iter()
        .try_for_each(|s| check_name(stub, &layout, s.name))?;
    let shift = shift_for(&layout, sections.len())?;
    let total: usize = sections
        .iter()
        .map(|s| s.data.len() + layout.file_alignment + layout.section_alignment)
        .sum();
    u32::try_from(layout.memory_end.max(layout.file_end + shift) + total)
        .map_err(|_| Error::TooLarge)?;

    let mut out = stub[..layout.table.end].to_vec();
    shift_raw_pointers(&mut out, &layout, shift);
    let mut address = layout.memory_end.next_multiple_of(layout.section_alignment);
    let mut offset = (layout.file_end + shift).next_multiple_of(layout.file_alignment);
    let mut added = 0;
    for section in sections {
        let raw = section.data.len().next_multiple_of(layout.file_alignment);
        out.extend(section_header(section, address, raw, offset));
        address = (address + section.data.len().max(1)).next_multiple_of(layout.section_alignment);
        offset += raw;
        added += raw;
    }
    out.resize(layout.headers + shift, 0);
    out.extend_from_slice(&stub[layout.headers..layout.file_end]);
    for section in sections {
        out.resize(out.len().next_multiple_of(layout.file_alignment), 0);
        out.extend_from_slice(section.data);
    }
    out.resize(out.len().next_multiple_of(layout.file_alignment), 0);

    put16(
        &mut out,
        layout.coff + 2,
        (layout.table.len() / SECTION_HEADER + sections.len()) as u16,
    );
    let initialised = get32(&out, layout.optional + SIZE_OF_INITIALIZED_DATA)? as usize + added;
    put32(
        &mut out,
        layout.optional + SIZE_OF_INITIALIZED_DATA,
        initialised as u32,
    );
    put32(&mut out, layout.optional + SIZE_OF_IMAGE, address as u32);
    put32(
        &mut out,
        layout.optional + SIZE_OF_HEADERS,
        (layout.headers + shift) as u32,
    );
    put32(&mut out, layout.optional + CHECKSUM, 0);
    Ok(out)
}

/// Takes off the last sections, which must have these names in this order; gives the program without them.
pub fn remove_sections(image: &[u8], names: &[&str]) -> Result<Vec<u8>, Error> {
    let layout = layout(image)?;
    let missing = || Error::NotOurs(names.join(" "));
    let count = layout.table.len() / SECTION_HEADER;
    let kept = count
        .checked_sub(names.len())
        .filter(|kept| *kept > 0)
        .ok_or_else(missing)?;
    let first = layout.table.start + kept * SECTION_HEADER;
    let (mut file_end, mut removed) = (layout.file_end, 0);
    for (at, name) in (first..layout.table.end).step_by(SECTION_HEADER).zip(names) {
        if padded(name)? != image[at..at + 8] {
            return Err(missing());
        }
        removed += get32(image, at + 16)? as usize;
        file_end = file_end.min(get32(image, at + 20)? as usize);
    }
    let ends = (layout.table.start..first)
        .step_by(SECTION_HEADER)
        .map(|at| {
            let (size, address) = (get32(image, at + 8)?, get32(image, at + 12)?);
            Ok(address as usize + size as usize)
        });
    let memory_end = ends
        .collect::<Result<Vec<_>, Error>>()?
        .into_iter()
        .max()
        .unwrap_or(0);
    let mut out = image
        .get(..file_end)
        .ok_or(Error::NotPe("cut off"))?
        .to_vec();
    out[first..layout.table.end].fill(0);
    put16(&mut out, layout.coff + 2, kept as u16);
    let initialised = (get32(image, layout.optional + SIZE_OF_INITIALIZED_DATA)? as usize)
        .saturating_sub(removed);
    put32(
        &mut out,
        layout.optional + SIZE_OF_INITIALIZED_DATA,
        initialised as u32,
    );
    let size = memory_end.next_multiple_of(layout.section_alignment);
    put32(&mut out, layout.optional + SIZE_OF_IMAGE, size as u32);
    Ok(out)
}

fn layout(stub: &[u8]) -> Result<Layout, Error> {
    if stub.get(..2) != Some(b"MZ") {
        return Err(Error::NotPe("no MZ header"));
    }
    let pe = get32(stub, 0x3c)? as usize;
    if stub.get(pe..pe.saturating_add(4)) != Some(b"PE\0\0") {
        return Err(Error::NotPe("no PE header"));
    }
    let (coff, optional) = (pe + 4, pe + 24);
    if get16(stub, optional)? != 0x20b || get32(stub, optional + 108)? < 5 {
        return Err(Error::NotPe(
            "no PE32+ optional header with data directories",
        ));
    }
    if get32(stub, optional + CERTIFICATE_TABLE)? != 0 {
        return Err(Error::Signed);
    }
    let start = optional + get16(stub, coff + 16)? as usize;
    let table = start..start + get16(stub, coff + 2)? as usize * SECTION_HEADER;
    let alignment = |at| match get32(stub, optional + at)? as usize {
        alignment if alignment.is_power_of_two() && alignment <= 0x1_0000 => Ok(alignment),
        _ => Err(Error::NotPe("an alignment that is no power of two")),
    };
    let mut layout = Layout {
        coff,
        optional,
        section_alignment: alignment(SECTION_ALIGNMENT)?,
        file_alignment: alignment(FILE_ALIGNMENT)?,
        headers: get32(stub, optional + SIZE_OF_HEADERS)? as usize,
        memory_end: 0,
        memory_start: usize::MAX,
        file_end: 0,
        table: table.clone(),
    };
    for at in table.clone().step_by(SECTION_HEADER) {
        let field = |offset| get32(stub, at + offset).map(|v| v as usize);
        let (size, address, raw_size, raw) = (field(8)?, field(12)?, field(16)?, field(20)?);
        layout.memory_end = layout.memory_end.max(address + size.max(raw_size));
        layout.memory_start = layout.memory_start.min(address);
        if raw != 0 && raw < layout.headers {
            return Err(Error::NotPe("a section inside the headers"));
        }
        layout.file_end = layout.file_end.max(raw + raw_size);
    }
    if table.is_empty() || layout.headers < table.end || layout.file_end < layout.headers {
        return Err(Error::NotPe("sections and headers overlap"));
    }
    if layout.file_end > stub.len() {
        return Err(Error::NotPe("cut off"));
    }
    Ok(layout)
}

fn check_name(stub: &[u8], layout: &Layout, name: &str) -> Result<(), Error> {
    let padded = padded(name)?;
    let taken = layout
        .table
        .clone()
        .step_by(SECTION_HEADER)
        .any(|at| stub[at..at + 8] == padded);
    if taken {
        Err(Error::Name(name.to_owned()))
    } else {
        Ok(())
    }
}

fn padded(name: &str) -> Result<[u8; 8], Error> {
    let mut padded = [0; 8];
    match padded.get_mut(..name.len()) {
        Some(start) if !name.is_empty() => start.copy_from_slice(name.as_bytes()),
        _ => return Err(Error::Name(name.to_owned())),
    }
    Ok(padded)
}

/// How far the sections' bytes must move for the table to grow; their place in memory stays.
fn shift_for(layout: &Layout, count: usize) -> Result<usize, Error> {
    let needed = layout.table.end + count * SECTION_HEADER;
    let shift = needed
        .saturating_sub(layout.headers)
        .next_multiple_of(layout.file_alignment);
    if layout.headers + shift > layout.memory_start {
        Err(Error::NoRoom(count))
    } else {
        Ok(shift)
    }
}

fn shift_raw_pointers(out: &mut [u8], layout: &Layout, shift: usize) {
    for at in layout.table.clone().step_by(SECTION_HEADER) {
        let raw = u32::from_le_bytes(out[at + 20..at + 24].try_into().expect("four bytes"));
        if raw != 0 {
            put32(out, at + 20, raw + shift as u32);
        }
    }
}

fn section_header(section: &Section<'_>, address: usize, raw: usize, offset: usize) -> Vec<u8> {
    let mut header = section.name.as_bytes().to_vec();
    header.resize(8, 0);
    for value in [
        section.data.len() as u32,
        address as u32,
        raw as u32,
        offset as u32,
        0,
        0,
        0,
        READABLE_DATA,
    ] {
        header.extend(value.to_le_bytes());
    }
    header
}

fn get16(bytes: &[u8], at: usize) -> Result<u16, Error> {
    let slice = bytes
        .get(at..at.saturating_add(2))
        .ok_or(Error::NotPe("cut off"))?;
    Ok(u16::from_le_bytes([slice[0], slice[1]]))
}

fn get32(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let slice = bytes
        .get(at..at.saturating_add(4))
        .ok_or(Error::NotPe("cut off"))?;
    Ok(u32::from_le_bytes([slice[0], slice[1], slice[2], slice[3]]))
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use goblin::pe::PE;
    use std::process::Command;

    /// A PE32+ program with one section and a table that is exactly as full as `spare` says.
    fn stub(spare: usize) -> Vec<u8> {
        let mut pe = vec![0; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        put32(&mut pe, 0x3c, 0x80);
        pe.extend(b"PE\0\0");
        pe.extend([0x8664u16, 1].map(u16::to_le_bytes).concat());
        pe.extend([0; 12]);
        pe.extend([240u16, 0x22].map(u16::to_le_bytes).concat());
        let optional = pe.len();
        pe.resize(optional + 240, 0);
        put16(&mut pe, optional, 0x20b);
        put32(&mut pe, optional + 16, 0x1000);
        put32(&mut pe, optional + SECTION_ALIGNMENT, 0x1000);
        put32(&mut pe, optional + FILE_ALIGNMENT, 0x200);
        put32(&mut pe, optional + SIZE_OF_IMAGE, 0x2000);
        put16(&mut pe, optional + 68, 10);
        put32(&mut pe, optional + 108, 16);
        let headers = (pe.len() + SECTION_HEADER + spare * SECTION_HEADER).next_multiple_of(0x200);
        put32(&mut pe, optional + SIZE_OF_HEADERS, headers as u32);
        let text = Section {
            name: ".text",
            data: &[0xc3; 100],
        };
        pe.extend(section_header(&text, 0x1000, 0x200, headers));
        pe.resize(headers, 0);
        pe.extend([0xc3; 100]);
        pe.resize(headers + 0x200, 0);
        pe
    }

    fn payload() -> Vec<(String, Vec<u8>)> {
        (0..8)
            .map(|n| (format!(".s{n}"), vec![n as u8 + 1; 1 + n * 1000]))
            .collect()
    }

    fn extended(stub: &[u8]) -> Vec<u8> {
        let payload = payload();
        let sections: Vec<Section<'_>> = payload
            .iter()
            .map(|(name, data)| Section { name, data })
            .collect();
        add_sections(stub, &sections).unwrap()
    }

    #[test]
    fn what_goes_in_is_found_by_an_independent_reader_whether_or_not_the_table_had_room() {
        for spare in [0, 8, 30] {
            let image = extended(&stub(spare));
            let pe = PE::parse(&image).unwrap();
            assert_eq!(pe.sections.len(), 9);
            let text = &pe.sections[0];
            assert_eq!(
                image[text.pointer_to_raw_data as usize..][..100],
                [0xc3; 100],
                "spare {spare}"
            );
            let mut end = 0;
            for (section, (name, data)) in pe.sections[1..].iter().zip(payload()) {
                assert_eq!(section.name().unwrap(), name);
                assert_eq!(
                    image[section.pointer_to_raw_data as usize..][..section.virtual_size as usize],
                    data
                );
                assert_eq!(
                    (
                        section.virtual_address % 0x1000,
                        section.pointer_to_raw_data % 0x200
                    ),
                    (0, 0)
                );
                assert!(section.virtual_address >= end, "{name} overlaps");
                end = section.virtual_address + section.virtual_size;
            }
            let optional = pe.header.optional_header.unwrap().windows_fields;
            assert_eq!(optional.size_of_image, end.next_multiple_of(0x1000));
            assert!(optional.size_of_headers <= pe.sections[0].pointer_to_raw_data);
        }
    }

    #[test]
    fn what_was_added_can_be_taken_off_and_exchanged() {
        for spare in [0, 8, 30] {
            let stub = stub(spare);
            let image = extended(&stub);
            let names: Vec<String> = payload().into_iter().map(|(name, _)| name).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let bare = remove_sections(&image, &names).unwrap();
            assert_eq!(PE::parse(&bare).unwrap().sections.len(), 1);
            assert_eq!(extended(&bare), image, "spare {spare}");
            let error = remove_sections(&image, &names[1..names.len() - 1]).unwrap_err();
            assert!(matches!(error, Error::NotOurs(_)), "{error}");
            assert!(remove_sections(&stub, &names).is_err());
        }
    }

    #[test]
    fn objdump_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.efi");
        std::fs::write(&path, extended(&stub(0))).unwrap();
        let Ok(output) = Command::new("objdump").arg("-h").arg(&path).output() else {
            return println!("skipped: objdump is not installed");
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for (name, data) in payload() {
            let line = text
                .lines()
                .find(|l| l.split_whitespace().nth(1) == Some(&name))
                .expect(&name);
            let size = usize::from_str_radix(line.split_whitespace().nth(2).unwrap(), 16).unwrap();
            assert!(
                size == data.len() || size == data.len().next_multiple_of(0x200),
                "{line}"
            );
        }
    }

    #[test]
    fn signed_stubs_bad_names_and_full_headers_are_refused() {
        let some = |name| [Section { name, data: b"x" }];
        let mut signed = stub(8);
        put32(&mut signed, 0x98 + CERTIFICATE_TABLE, 0x1000);
        assert_eq!(add_sections(&signed, &some(".a")), Err(Error::Signed));
        for name in ["", ".ninebyte", ".text"] {
            assert_eq!(
                add_sections(&stub(8), &some(name)),
                Err(Error::Name(name.to_owned()))
            );
        }
        let many: Vec<Section<'_>> = (0..95)
            .map(|_| Section {
                name: ".a",
                data: b"",
            })
            .collect();
        assert_eq!(add_sections(&stub(0), &many), Err(Error::NoRoom(95)));
    }

    #[test]
    fn no_cut_or_flipped_stub_panics() {
        let good = stub(2);
        for end in 0..good.len() {
            drop(add_sections(
                &good[..end],
                &[Section {
                    name: ".a",
                    data: b"x",
                }],
            ));
        }
        for at in 0..0x200 {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            drop(add_sections(
                &bad,
                &[Section {
                    name: ".a",
                    data: b"x",
                }],
            ));
        }
    }
}
