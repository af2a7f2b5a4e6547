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
	// Login is the name of the application's login. Admin is that of the login that makes roles and schemas.
	Login = "kluis"
	Admin = "kluis_admin"
)

// passwords are those of the three roles that log in.
//
// Only root and the account that Postgres runs as reach the socket. There are passwords nevertheless, because for root that account is shared with
// other programs (nobody, or the system's own Postgres), which cannot read the file of the passwords. Peer authentication will not
// do, since root's kluis and Postgres are different users.
type passwords struct {
	superuser, login, admin string
	stored                  bool // in the file, and set in the cluster
}

// readPasswords reads the file. When it is missing, it makes new passwords, which have yet to be set in the cluster.
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
		return p, fmt.Errorf("%s lacks a password of %s, %s or %s: remove the file and start again, which sets new ones", d.file("passwords"), superuser, Login, Admin)
	}
	return p, nil
}

// write stores them in the format of .pgpass, so that `PGPASSFILE=<folder>/passwords psql -U postgres -h <socket>` works.
func (p passwords) write(d folder) error {
	return d.replace("passwords", fmt.Appendf(nil, "*:*:*:%s:%s\n*:*:*:%s:%s\n*:*:*:%s:%s\n", superuser, p.superuser, Login, p.login, Admin, p.admin))
}

// socketName is a name for the folder of the socket. It stays the same, others cannot guess it, and a copy of the folder elsewhere has another
// one.
func (p passwords) socketName(d folder) string {
	sum := sha256.Sum256([]byte("socket " + p.superuser + " " + string(d)))
	return "kluis-" + hex.EncodeToString(sum[:8])
}
