//! What a store can do to those who use it.

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// CreateMultipartUpload
    Create,
    /// UploadPart
    Part,
    /// CompleteMultipartUpload
    Complete,
    /// AbortMultipartUpload
    Abort,
    Put,
    Get,
    Head,
    List,
    /// ListMultipartUploads
    ListUploads,
    Delete,
}

/// Something that goes wrong with requests of one kind.
#[derive(Debug, Clone)]
pub struct Fault {
    pub op: Op,
    pub harm: Harm,
    /// Only this part; else any.
    pub part: Option<u32>,
    /// So many requests go well first.
    pub after: usize,
    /// So many go wrong then.
    pub times: usize,
}

#[derive(Debug, Clone)]
pub enum Harm {
    /// Refused with this status and code, before anything is done.
    Refuse(u16, &'static str),
    /// Refused, with the region that it should have been.
    Elsewhere(u16, &'static str, &'static str),
    /// The connection is reset before anything is done.
    Reset,
    /// Done, and then the connection is reset instead of an answer.
    LoseAnswer,
    /// No answer, ever.
    Stall,
    /// Begun only after so many milliseconds.
    Late(u64),
    /// Status 200, and an error in the body; nothing is done.
    OkWithError(&'static str),
    /// Done, and the ETag in the answer is another.
    WrongEtag,
    /// The answer's body ends after so many bytes, with the connection.
    CutBody(usize),
    /// The answer's body goes on no more after so many bytes.
    StallBody(usize),
    /// One bit of this byte of the answer's body is another: what was stored is not what is given.
    FlipByte(usize),
}

impl Fault {
    /// Goes wrong once.
    pub fn new(op: Op, harm: Harm) -> Self {
        Self { op, harm, part: None, after: 0, times: 1 }
    }

    #[must_use]
    pub fn part(mut self, number: u32) -> Self {
        self.part = Some(number);
        self
    }

    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }

    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }
}

/// The faults that are to happen, in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What goes wrong with this request.
    pub fn happen(&mut self, op: Op, part: Option<u32>) -> Option<Harm> {
        let fault = self
            .0
            .iter_mut()
            .find(|fault| fault.op == op && fault.times > 0 && (fault.part.is_none() || fault.part == part))?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(usize::from(fault.times < usize::MAX));
        Some(fault.harm.clone())
    }
}
