// Package pgserver is the private Postgres that Kluis runs when KLUIS_DATABASE_URL is empty. It finds the programs, makes the
// cluster, starts the server, keeps it running, and stops it with its last user.
//
// Everything is in one folder, which several kluis processes may use at once. They agree by flock(2) and not by process ids: the
// kernel releases a lock when its holder is killed, and a lock stays right when process ids are used again, after reboots, and among
// containers that share a volume.
//
//	cluster/   Postgres' data directory, owned by the account that Postgres runs as
//	new-*/     a cluster being made; one rename makes it cluster/, so a killed initdb leaves no half cluster
//	passwords  of the superuser and of the two logins, mode 0600, in the format of .pgpass; when it is missing, new ones are set
//	log        what Postgres says; log.old is the one before
//	socket/    the Unix socket, mode 0700, when the path is short and open enough; otherwise it is in TMPDIR/kluis-<16 hex>/
//	cache/     programs fetched with npm, for a user without a home
//	lock       held exclusively by a process that starts or stops the server, for as long as that takes
//	users      held shared by each Server from Start to Stop; held exclusively only under lock, to find out whether there is
//	           no other user, since only the last user may stop or restart the server
//	alive      held by every Postgres process that kluis has started, which inherit it: while it is free, none of them runs,
//	           not even a backend that outlived its postmaster
//
// The file system must have a real flock, so NFS will not do; Postgres does not want its data there either.
//
// When kluis runs as root, Postgres runs as the owner of the cluster. A new cluster is given to the owner of the folder or, when that is
// root, too, to the user postgres, or nobody. That user needs no way into the folders above the cluster, because it gets the data
// directory as an open file (on Linux; elsewhere the error of Start says which folder is closed).
//
// Postgres is started in a session of its own, so ^C in the terminal does not reach it. A service manager that signals all processes of
// a unit, as systemd does by default, should be told to signal only kluis: KillMode=mixed.
package pgserver
