//! The PAM library: the calls that a login needs, and nothing else.
//!
//! Types and numbers are those of Linux-PAM's `security/_pam_types.h`; `tests/worker` runs them
//! against the real library with modules built from its own headers.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use super::{Code, Item, Spoken, Talk};

/// More messages at once than PAM allows.
const MAX_MESSAGES: usize = 32;

const CONV_ERR: c_int = 19;
const BUF_ERR: c_int = 5;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Converse = extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

/// `pam_handle_t`, of which only the library knows what is in it.
#[repr(C)]
struct Opaque {
    _nothing: [u8; 0],
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut Opaque,
    ) -> c_int;
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        folder: *const c_char,
        handle: *mut *mut Opaque,
    ) -> c_int;
    fn pam_end(handle: *mut Opaque, status: c_int) -> c_int;
    fn pam_authenticate(handle: *mut Opaque, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Opaque, flags: c_int) -> c_int;
    fn pam_chauthtok(handle: *mut Opaque, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut Opaque, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut Opaque, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut Opaque, flags: c_int) -> c_int;
    fn pam_set_item(handle: *mut Opaque, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *const Opaque, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_putenv(handle: *mut Opaque, variable: *const c_char) -> c_int;
    fn pam_getenvlist(handle: *mut Opaque) -> *mut *mut c_char;
    fn pam_strerror(handle: *mut Opaque, code: c_int) -> *const c_char;
}

/// What PAM is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Find out whether the person is who they say.
    Authenticate,
    /// Find out whether the account may be used, here and now.
    Account,
    /// Change a password that has expired.
    ChangePassword,
    /// Give credentials.
    EstablishCredentials,
    /// Take them away.
    DeleteCredentials,
    /// Open the session.
    OpenSession,
    /// Close it.
    CloseSession,
}

/// A PAM handle. `T` is spoken to by the modules; it is behind a pointer that only they use, and
/// only while a call is under way.
pub struct Handle<T: Talk> {
    handle: *mut Opaque,
    talk: *mut T,
    last: c_int,
    _owned: PhantomData<T>,
}

impl<T: Talk> Handle<T> {
    /// Begins a transaction.
    pub fn start(
        service: &CStr,
        user: Option<&CStr>,
        folder: Option<&CStr>,
        talk: T,
    ) -> Result<Self, Code> {
        let talk = Box::into_raw(Box::new(talk));
        let conversation = Conversation {
            converse: converse::<T>,
            data: talk.cast(),
        };
        let user = user.map_or(ptr::null(), CStr::as_ptr);
        let mut handle = ptr::null_mut();
        // SAFETY: the strings end with NUL and outlive the calls; PAM copies them and the
        // conversation. `talk` lives until `pam_end` has been called.
        let code = unsafe {
            match folder {
                None => pam_start(service.as_ptr(), user, &conversation, &mut handle),
                Some(folder) => pam_start_confdir(
                    service.as_ptr(),
                    user,
                    &conversation,
                    folder.as_ptr(),
                    &mut handle,
                ),
            }
        };
        if code != 0 || handle.is_null() {
            // SAFETY: PAM has given no handle out, so nobody else has the pointer.
            drop(unsafe { Box::from_raw(talk) });
            return Err(Code(code));
        }
        Ok(Self {
            handle,
            talk,
            last: 0,
            _owned: PhantomData,
        })
    }

    /// Whom the modules speak with.
    pub fn talk(&mut self) -> &mut T {
        // SAFETY: the pointer came from a box and is freed in `drop` only. Modules use it during
        // calls, all of which borrow `self` mutably, as this does.
        unsafe { &mut *self.talk }
    }

    /// Does it.
    pub fn call(&mut self, call: Call) -> Result<(), Code> {
        let handle = self.handle;
        // SAFETY: the handle is live until `drop`. The modules that run now are the
        // administrator's choice; the process is there to be killed with them.
        self.last = unsafe {
            match call {
                // An empty password is none.
                Call::Authenticate => pam_authenticate(handle, 0x1),
                Call::Account => pam_acct_mgmt(handle, 0x1),
                Call::ChangePassword => pam_chauthtok(handle, 0x20),
                Call::EstablishCredentials => pam_setcred(handle, 0x2),
                Call::DeleteCredentials => pam_setcred(handle, 0x4),
                Call::OpenSession => pam_open_session(handle, 0),
                Call::CloseSession => pam_close_session(handle, 0),
            }
        };
        done(self.last)
    }

    /// Sets an item.
    pub fn set(&mut self, item: Item, value: &CStr) -> Result<(), Code> {
        // SAFETY: all items of the enum are strings, which PAM copies.
        done(unsafe { pam_set_item(self.handle, item as c_int, value.as_ptr().cast()) })
    }

    /// Reads an item.
    pub fn get(&self, item: Item) -> Option<CString> {
        let mut value = ptr::null();
        // SAFETY: all items of the enum are strings; the pointer is PAM's and good until the next
        // call, and it is copied before that.
        unsafe {
            let code = pam_get_item(self.handle, item as c_int, &mut value);
            (code == 0 && !value.is_null()).then(|| CStr::from_ptr(value.cast()).to_owned())
        }
    }

    /// Puts `NAME=value` into the environment that modules see and the session gets.
    pub fn put_variable(&mut self, variable: &CStr) -> Result<(), Code> {
        // SAFETY: PAM copies the string.
        done(unsafe { pam_putenv(self.handle, variable.as_ptr()) })
    }

    /// The environment that modules made, as `NAME=value`.
    pub fn variables(&mut self) -> Vec<CString> {
        let mut variables = Vec::new();
        // SAFETY: the list and its strings were allocated for us with malloc and end with a null
        // pointer; each is copied and freed once.
        unsafe {
            let list = pam_getenvlist(self.handle);
            let mut next = list;
            while !next.is_null() && !(*next).is_null() {
                variables.push(CStr::from_ptr(*next).to_owned());
                libc::free((*next).cast());
                next = next.add(1);
            }
            libc::free(list.cast());
        }
        variables
    }

    /// What PAM calls an error.
    pub fn words(&mut self, code: Code) -> String {
        // SAFETY: the result is a string that lives as long as the library, or null.
        unsafe {
            let text = pam_strerror(self.handle, code.0);
            match text.is_null() {
                true => format!("PAM error {}", code.0),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            }
        }
    }
}

impl<T: Talk> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used after this. Modules may speak once more while
        // they clean up, so what they speak with goes last.
        unsafe {
            pam_end(self.handle, self.last);
            drop(Box::from_raw(self.talk));
        }
    }
}

fn done(code: c_int) -> Result<(), Code> {
    match code {
        0 => Ok(()),
        code => Err(Code(code)),
    }
}

/// What modules call.
extern "C" fn converse<T: Talk>(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let count = match usize::try_from(count) {
        Ok(count @ 1..=MAX_MESSAGES) => count,
        _ => return CONV_ERR,
    };
    if messages.is_null() || responses.is_null() || data.is_null() {
        return CONV_ERR;
    }
    // SAFETY: `data` is the box of `Handle::start`, which outlives the handle. The call that leads
    // here borrows the handle mutably and does not touch it.
    let talk = unsafe { &mut *data.cast::<T>() };
    // SAFETY: calloc takes numbers; the result is checked. An all-zero response is an empty one.
    let answers: *mut Response = unsafe { libc::calloc(count, size_of::<Response>()).cast() };
    if answers.is_null() {
        return BUF_ERR;
    }
    for index in 0..count {
        // SAFETY: Linux-PAM hands over an array of `count` pointers to messages, whose texts end
        // with NUL. A null pointer is not followed.
        let (style, text) = unsafe {
            let message = *messages.add(index);
            if message.is_null() || (*message).text.is_null() {
                (0, c"")
            } else {
                ((*message).style, CStr::from_ptr((*message).text))
            }
        };
        // A panic must not unwind into C.
        let said = catch_unwind(AssertUnwindSafe(|| {
            talk.say(style, &text.to_string_lossy())
        }));
        match said {
            Ok(Spoken::Nothing) => {}
            Ok(Spoken::Answer(answer)) => {
                // SAFETY: `answers` has `count` elements. The copy is made with malloc since the
                // module frees it; PAM's own modules wipe it before that.
                unsafe { (*answers.add(index)).text = libc::strdup(answer.as_ptr()) };
                wipe(answer);
            }
            Ok(Spoken::GaveUp) | Err(_) => {
                give_back(answers, count);
                return CONV_ERR;
            }
        }
    }
    // SAFETY: `responses` was checked; the array is the module's from here on.
    unsafe { *responses = answers };
    0
}

fn wipe(text: CString) {
    zeroize::Zeroize::zeroize(&mut text.into_bytes());
}

/// Frees answers that no module will get.
fn give_back(answers: *mut Response, count: usize) {
    for index in 0..count {
        // SAFETY: the array has `count` elements, each with a string of strdup's or null; strings
        // are wiped over their whole length and freed once.
        unsafe {
            let text = (*answers.add(index)).text;
            if !text.is_null() {
                libc::explicit_bzero(text.cast(), libc::strlen(text));
                libc::free(text.cast());
            }
        }
    }
    // SAFETY: the array came from calloc and nobody else has it.
    unsafe { libc::free(answers.cast()) };
}
