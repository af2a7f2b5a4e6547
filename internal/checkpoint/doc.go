// Package checkpoint has what is signed of a log, in texts that tools which are not ours read: checkpoints
// (C2SP tlog-checkpoint), receipts of one record (C2SP tlog-proof), and proofs that a log only grew.
// It also keeps checkpoints in a folder outside the database, where whoever owns the database cannot rewrite them.
package checkpoint
