//! How a filter is written: tests of numbers and arguments as jumps.

use libc::{c_long, sock_filter};

use super::{ALLOW, Filter};

/// Where the kernel puts what a filter sees (`struct seccomp_data`).
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A value that the child fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Later {
    Pid,
    /// The lower or the higher half of one of the numbers.
    ExecLow(usize),
    ExecHigh(usize),
}

/// A test of one argument. All 32 bits of its lower half are looked at, as the kernel
/// does where an `int` is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    OneOf(&'static [u32]),
    /// None of these bits.
    Without(u32),
    /// All of these bits.
    With(u32),
    /// One of these when only these bits count.
    Masked(u32, &'static [u32]),
    /// A null pointer.
    Null,
    Pid,
    PidOrNull,
    Exec(usize),
}

impl Filter {
    fn push(&mut self, instruction: sock_filter) {
        self.program.push(instruction);
    }

    pub(super) fn load(&mut self, at: u32) {
        self.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at));
    }

    pub(super) fn end(&mut self, answer: u32) {
        self.push(statement(libc::BPF_RET | libc::BPF_K, answer));
    }

    /// Answers this if what was loaded is another value.
    pub(super) fn unless_equal(&mut self, value: u32, answer: u32) {
        self.push(jump(libc::BPF_JEQ, value, 1, 0));
        self.end(answer);
    }

    pub(super) fn at_least(&mut self, value: u32, answer: u32) {
        self.push(jump(libc::BPF_JGE, value, 0, 1));
        self.end(answer);
    }

    /// Answers this for a call of this number. The number is loaded before and after.
    pub(super) fn on(&mut self, number: c_long, answer: u32) {
        self.push(jump(libc::BPF_JEQ, number_of(number), 0, 1));
        self.end(answer);
    }

    /// Allows calls of these numbers, found by halving: the kernel asks about every
    /// number when the filter is set, and at each call whose arguments count. The number
    /// is loaded before and after.
    pub(super) fn allow_all<'a>(&mut self, numbers: impl Iterator<Item = &'a c_long>) {
        let mut numbers: Vec<u32> = numbers.map(|&number| number_of(number)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        // From which number on which answer holds.
        let mut answers = vec![(0, false)];
        for number in numbers {
            match answers.last_mut() {
                Some(last) if last.0 == number => last.1 = true,
                _ => answers.push((number, true)),
            }
            answers.push((number + 1, false));
        }
        answers.dedup_by_key(|answer| answer.1);
        let mut undecided = Vec::new();
        self.halve(&answers, &mut undecided);
        for at in undecided {
            let distance = self.program.len() - at - 1;
            if let Some(instruction) = self.program.get_mut(at) {
                instruction.k = u32::try_from(distance).unwrap_or(u32::MAX);
            }
        }
    }

    /// Finds the answer for the number among `answers`; jumps to what comes later if it is
    /// not allowed, in places that are noted.
    fn halve(&mut self, answers: &[(u32, bool)], undecided: &mut Vec<usize>) {
        let (below, above) = answers.split_at(answers.len() / 2);
        let (Some(middle), false) = (above.first(), below.is_empty()) else {
            match above {
                [(_, true)] => self.end(ALLOW),
                _ => {
                    undecided.push(self.program.len());
                    self.push(jump(libc::BPF_JA, 0, 0, 0));
                }
            }
            return;
        };
        let at = self.program.len();
        self.push(jump(libc::BPF_JGE, middle.0, 0, 0));
        self.halve(below, undecided);
        let distance = u8::try_from(self.program.len() - at - 1).unwrap_or(u8::MAX);
        if let Some(instruction) = self.program.get_mut(at) {
            instruction.jt = distance;
        }
        self.halve(above, undecided);
    }

    /// Allows a call of this number when all tests say so. The number is loaded
    /// before and after.
    pub(super) fn when(&mut self, number: c_long, tests: &[(u32, Test)]) {
        let first = self.program.len();
        self.push(jump(libc::BPF_JEQ, number_of(number), 0, 0));
        // Jumps to the end of this rule, filled in once it is known.
        let mut fail_true = Vec::new();
        let mut fail_false = vec![first];
        for &(argument, test) in tests {
            self.test(argument, test, &mut fail_true, &mut fail_false);
        }
        self.end(ALLOW);
        let end = self.program.len();
        for (list, when_true) in [(fail_true, true), (fail_false, false)] {
            for at in list {
                let distance = u8::try_from(end - at - 1).unwrap_or(u8::MAX);
                if let Some(instruction) = self.program.get_mut(at) {
                    if when_true {
                        instruction.jt = distance;
                    } else {
                        instruction.jf = distance;
                    }
                }
            }
        }
        self.load(NUMBER);
    }

    fn test(
        &mut self,
        argument: u32,
        test: Test,
        fail_true: &mut Vec<usize>,
        fail_false: &mut Vec<usize>,
    ) {
        let (low, high) = (ARGUMENTS + 8 * argument, ARGUMENTS + 8 * argument + 4);
        self.load(low);
        match test {
            Test::OneOf(values) => self.one_of(values, fail_false),
            Test::Masked(mask, values) => {
                self.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
                self.one_of(values, fail_false);
            }
            Test::Without(bits) => {
                fail_true.push(self.program.len());
                self.push(jump(libc::BPF_JSET, bits, 0, 0));
            }
            Test::With(bits) => {
                self.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits));
                fail_false.push(self.program.len());
                self.push(jump(libc::BPF_JEQ, bits, 0, 0));
            }
            Test::Null => {
                fail_false.push(self.program.len());
                self.push(jump(libc::BPF_JEQ, 0, 0, 0));
                self.load(high);
                fail_false.push(self.program.len());
                self.push(jump(libc::BPF_JEQ, 0, 0, 0));
            }
            Test::Pid => self.filled_in(Later::Pid, fail_false),
            Test::PidOrNull => {
                self.push(jump(libc::BPF_JEQ, 0, 1, 0));
                self.filled_in(Later::Pid, fail_false);
            }
            Test::Exec(number) => {
                self.filled_in(Later::ExecLow(number), fail_false);
                self.load(high);
                self.filled_in(Later::ExecHigh(number), fail_false);
            }
        }
    }

    /// Goes on if what is loaded is one of these.
    fn one_of(&mut self, values: &[u32], fail_false: &mut Vec<usize>) {
        for (at, &value) in values.iter().enumerate() {
            let left = u8::try_from(values.len() - at - 1).unwrap_or(u8::MAX);
            if left == 0 {
                fail_false.push(self.program.len());
            }
            self.push(jump(libc::BPF_JEQ, value, left, 0));
        }
    }

    fn filled_in(&mut self, later: Later, fail_false: &mut Vec<usize>) {
        self.later.push((self.program.len(), later));
        fail_false.push(self.program.len());
        self.push(jump(libc::BPF_JEQ, 0, 0, 0));
    }
}

pub(super) fn number_of(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

pub(super) fn statement(code: u32, k: u32) -> sock_filter {
    jump_or_not(code, k, 0, 0)
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    jump_or_not(libc::BPF_JMP | condition | libc::BPF_K, k, jt, jf)
}

fn jump_or_not(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    }
}
