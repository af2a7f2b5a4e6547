// Package password hashes passwords, and decides which ones are good enough.
//
// Hashes are Argon2id (RFC 9106) in PHC strings, $argon2id$v=19$m=65536,t=3,p=1$<salt>$<hash>, as other programs
// write and read them too. One hash takes a core and tens of MiB on purpose, so a Hasher runs only a few at a time
// and queues a few more, by turns of the networks that they come from (queue.go); the rest is told ErrBusy. That bounds memory under a flood of logins and leaves the
// processor to the other requests.
//
// The same text can be typed as different code points ("e" and an accent, or one letter), so passwords are
// normalised (Unicode NFC, as RFC 8265 has it) before anything is done with them.
//
// No error of this package contains a password, nor a hash.
package password
