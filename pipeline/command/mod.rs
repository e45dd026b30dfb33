//! The commands of the program: a file each, its arguments beside what it does.

pub mod ablate;
pub mod answer;
pub mod arguments;
pub mod audit;
pub mod bakeoff;
pub mod bench;
pub mod check_verifier;
pub mod context;
pub mod curate;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod export_gguf;
pub mod grade;
pub mod init;
pub mod inspect;
pub mod manual;
pub mod regrade;
pub mod report;
pub mod run;
pub mod show;
pub mod sql;
pub mod status;
pub mod verify_run;
