package domain

import (
	"regexp"
	"slices"
	"strings"
)

// A slug is a DNS label (RFC 1123) of 3 to 63 characters, lower case.
var slug = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]$`)

// reservedSlugs are names that a reader takes for Kluis itself, for a mailbox of a host (RFC 2142), or for a part of an address.
var reservedSlugs = []string{
	"abuse", "account", "accounts", "admin", "administrator", "api", "app", "assets", "auth", "billing", "blog", "cdn", "dev", "docs",
	"email", "ftp", "healthz", "help", "hostmaster", "imap", "info", "internal", "kluis", "localhost", "login", "logout", "mail", "metrics",
	"news", "noc", "noreply", "no-reply", "ns1", "ns2", "null", "official", "password", "pop3", "postmaster", "public", "readyz", "redoc",
	"root", "schema", "security", "signin", "signup", "smtp", "ssl", "staging", "static", "status", "support", "sysadmin", "system",
	"team", "undefined", "webmail", "webmaster", "workspace", "workspaces", "www",
}

// checkSlug refuses a text that cannot be the short name of a workspace, and names that are reserved. Hyphens in the third and fourth place
// are reserved for encoded names such as xn--bcher-kva (RFC 5891, 4.2.3.1).
func checkSlug(pointer, name string) error {
	if !slug.MatchString(name) {
		return InvalidField(pointer, "must be 3 to 63 lower-case letters, digits and inner hyphens")
	}
	if strings.HasPrefix(name[2:], "--") || strings.HasPrefix(name, "kluis-") || slices.Contains(reservedSlugs, name) {
		return InvalidField(pointer, "is a reserved name: choose another one")
	}
	return nil
}
