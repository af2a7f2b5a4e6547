// Package pgserver is the private Postgres that Kluis runs when KLUIS_DATABASE_URL is empty: it finds the
// programs, makes the cluster, starts it, keeps it running, and stops it with its last user.
//
// Everything is in one folder, which several kluis processes may use at once. They agree through flock(2) and
// not through process ids: the kernel gives a lock back when its holder is killed, and a lock says the truth
// across pid reuse, reboots and containers that share a volume.
//
//	cluster/   Postgres' data directory. Owned by the account that Postgres runs as
//	new-*/     a cluster being made; it becomes cluster/ by one rename, so a killed initdb leaves no half cluster
//	passwords  of the superuser and of the two logins, 0600, in the format of .pgpass. A cluster without it is given new ones
//	log        what Postgres says; log.old the one before
//	socket/    the Unix socket, 0700, when the path is short and open enough; else TMPDIR/kluis-<16 hex>/
//	cache/     programs fetched with npm, of a user without a home
//	lock       held exclusively by whoever starts or stops the server, for as long as that takes
//	users      held shared by each Server from Start to Stop; held exclusively only under lock, to learn
//	           "nobody else", which is who may stop or restart the server
//	alive      held by every Postgres process that we start, which inherit it: free means that none of them runs,
//	           not even a backend that outlived its postmaster
//
// flock must be real: a data directory on NFS is for neither Postgres nor this.
//
// As root, Postgres runs as the owner of the cluster; a new cluster is given to the owner of the folder, and where that
// is root to the user postgres, else nobody. That user needs no way into the folders above the cluster: it gets the data directory as an open
// file (Linux; elsewhere Start says which folder is closed).
//
// Postgres is started in a session of its own, so ^C in the terminal does not reach it. A service manager that
// signals all processes of a unit (systemd's default) should be told to signal only kluis: KillMode=mixed.
package pgserver
