//! Unique ids, in every format that both have.

use culver_pop3::{Options, UidlFormat};
use fastrand::Rng;
use testkit::{
    dovecot::{self, PASSWORD},
    pop3::Pop3,
    skip,
};

use crate::pair::Pair;

#[test]
fn the_same_unique_ids_from_both() {
    if !dovecot::has_pop3() {
        return skip("unique ids beside Dovecot's", "dovecot-pop3d");
    }
    for format in ["%08Xu%08Xv", "%u.%v", "%g", "%Ug", "%12g-%Xu", "%010u"] {
        let options = Options { uidl_format: UidlFormat::parse(format).unwrap(), ..Options::default() };
        let extra = format!("pop3_uidl_format = {format}");
        let mut rng = Rng::with_seed(7);
        let mut pair = Pair::new("pop3-uidl", &mut rng, 20, options, &extra);
        pair.expunge_behind_their_backs(&mut rng);
        let [ours, theirs] = [pair.ours(), pair.theirs].map(|address| {
            let mut pop3 = Pop3::login(address, "ann", PASSWORD).unwrap();
            let one = pop3.command("UIDL 7").unwrap();
            let all = pop3.command("UIDL").unwrap();
            (one, all.lines.unwrap())
        });
        assert_eq!(ours, theirs, "{format}");
        assert_eq!(ours.1.len(), 19);
    }
}
