package pgserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const (
	superuser = "postgres"
	// Login is the name of the application's login, and Admin that of the login that makes roles and schemas for it.
	Login = "kluis"
	Admin = "kluis_admin"
)

// passwords are those of the three roles that log in.
//
// Why passwords and not `trust`, when only root and Postgres' own user reach the socket: as root that user is shared
// (nobody, or the system's other Postgres), and the file with the passwords stays closed to it. Peer authentication
// is out, since root's kluis and Postgres are different users.
type passwords struct {
	superuser, login, admin string
	stored                  bool // in the file, and so set in the cluster
}

// readPasswords reads the file. Where there is none it makes passwords, which the cluster has to be given.
func readPasswords(d folder) (p passwords, err error) {
	content, err := os.ReadFile(d.file("passwords"))
	if errors.Is(err, fs.ErrNotExist) {
		return passwords{superuser: rand.Text(), login: rand.Text(), admin: rand.Text()}, nil
	}
	if err != nil {
		return p, err
	}
	p.stored = true
	for line := range strings.Lines(string(content)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		switch {
		case len(fields) == 5 && fields[3] == superuser:
			p.superuser = fields[4]
		case len(fields) == 5 && fields[3] == Login:
			p.login = fields[4]
		case len(fields) == 5 && fields[3] == Admin:
			p.admin = fields[4]
		}
	}
	if p.superuser == "" || p.login == "" || p.admin == "" {
		return p, fmt.Errorf("%s lacks a password of %s, %s or %s: take the file away and start again, new ones are made then", d.file("passwords"), superuser, Login, Admin)
	}
	return p, nil
}

// write keeps them so that `PGPASSFILE=<folder>/passwords psql -U postgres -h <socket>` works.
func (p passwords) write(d folder) error {
	return d.replace("passwords", fmt.Appendf(nil, "*:*:*:%s:%s\n*:*:*:%s:%s\n*:*:*:%s:%s\n", superuser, p.superuser, Login, p.login, Admin, p.admin))
}

// socketName is a name for the socket's folder that stays the same, that others cannot guess, and that a copy of the
// folder elsewhere does not share.
func (p passwords) socketName(d folder) string {
	sum := sha256.Sum256([]byte("socket " + p.superuser + " " + string(d)))
	return "kluis-" + hex.EncodeToString(sum[:8])
}
