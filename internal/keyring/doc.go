// Package keyring holds the keys that live outside of the database, and seals what lives inside.
//
// There are two layers. A Keyring (a file or an environment variable, see Load) holds the Fernet keys of the installation: the first
// encrypts, and all decrypt, as in MultiFernet of Python's cryptography. It wraps data keys, of which each workspace and each
// member has one. A DataKey seals the fields themselves. So a rotation rewraps a few data keys and rewrites no event, and destroying the data
// key of a member erases the person everywhere at once.
//
// Everything sealed is a Fernet token (https://github.com/fernet/spec/blob/master/Spec.md), byte-compatible with cryptography.fernet.
// Fernet has no associated data. So the purpose of a token is inside the sealed plaintext (see frame), and Open compares it: a token
// that was copied to another row, field or workspace does not open there. The age of a token is never checked: what expires has an
// expiry of its own.
//
// Keys never leave this package. No method returns one, no error contains one, and every way of printing a Keyring or a DataKey
// shows fingerprints at most.
package keyring
