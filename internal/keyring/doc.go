// Package keyring holds the keys that live outside the database, and seals what lives inside it.
//
// There are two layers. A Keyring (a file or an environment variable, see Load) holds the Fernet keys of the
// installation: the first one encrypts, all of them decrypt, as in MultiFernet of Python's cryptography. It wraps
// data keys: one per workspace and per member. A DataKey seals the fields themselves. So rotation rewraps a few
// data keys and rewrites no event, and destroying a member's data key erases the person everywhere at once.
//
// Everything sealed is a Fernet token (https://github.com/fernet/spec/blob/master/Spec.md), byte-compatible with
// cryptography.fernet. Fernet has no associated data, so what a token is for, its purpose, is inside the sealed
// plaintext (see frame) and is compared on opening: a token copied to another row, field or workspace opens
// nowhere else. Tokens are never checked for age: what must expire has an expiry of its own.
//
// Keys never leave this package: no method returns one, no error contains one, and every way of printing a Keyring
// or a DataKey shows fingerprints at most.
package keyring
