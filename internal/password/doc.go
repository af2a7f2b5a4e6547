// Package password hashes passwords, and decides which ones are good enough.
//
// Hashes are Argon2id (RFC 9106) in PHC strings, $argon2id$v=19$m=65536,t=3,p=1$<salt>$<hash>, which other programs read and write,
// too. One hash takes a core and tens of MiB on purpose. So a Hasher runs a few at a time and queues a few more, by turns of the
// networks that they come from (queue.go); the rest get ErrBusy. That limits memory under a flood of logins, and leaves the processor
// to other requests.
//
// The same text can be typed as different code points ("e" and an accent, or one letter). So passwords are normalised first (Unicode
// NFC, as in RFC 8265).
//
// No error of this package contains a password or a hash.
package password
