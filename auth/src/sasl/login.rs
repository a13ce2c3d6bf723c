//! LOGIN: the name, then the password. It has no RFC; the prompts are those that clients have always been given.

use super::{Failure, Next};
use crate::Secret;

#[derive(Debug, Default)]
pub(super) struct Login {
    name: Option<String>,
}

impl Login {
    pub(super) fn step(&mut self, message: &[u8]) -> Result<Next, Failure> {
        match self.name.take() {
            Some(name) => Ok(Next::CheckPassword { name, password: Secret(message.to_vec()) }),
            None => {
                self.name = Some(std::str::from_utf8(message).map_err(|_| Failure::Malformed)?.to_owned());
                Ok(Next::Challenge(b"Password:".to_vec()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_then_password() {
        let mut login = Login::default();
        assert_eq!(login.step(b"ann"), Ok(Next::Challenge(b"Password:".to_vec())));
        let password = Secret(b"secret".to_vec());
        assert_eq!(login.step(b"secret"), Ok(Next::CheckPassword { name: "ann".to_owned(), password }));
        assert_eq!(Login::default().step(b"\xff"), Err(Failure::Malformed));
    }
}
