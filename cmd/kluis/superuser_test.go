package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// superuserURL gives the URL by which the test opens a home's database as the superuser.
func (h *home) superuserURL(t *testing.T) string {
	t.Helper()
	if h.super != "" {
		return h.super
	}
	for _, e := range h.env {
		if url, shared := strings.CutPrefix(e, "KLUIS_DATABASE_URL="); shared {
			return pgtest.Superuser(t, url)
		}
	}
	folder := filepath.Join(h.data, "postgres")
	passwords, err := os.ReadFile(filepath.Join(folder, "passwords"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(passwords), "\n")
	fields := strings.Split(line, ":")
	state := h.postmaster(t)
	url, err := pgserver.WithDatabase("postgres://"+fields[3]+":"+fields[4]+"@/x?port=5432&host="+state[4], "kluis")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// postmaster reads the postmaster.pid of Postgres: line 1 is its process id, line 5 the folder of its socket.
func (h *home) postmaster(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.data, "postgres", "cluster", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// superuser connects as the superuser.
func (h *home) superuser(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.superuserURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// schema gives the schema of a workspace.
func schema(t *testing.T, admin *pgx.Conn, slug string) string {
	t.Helper()
	var id uuid.UUID
	if err := admin.QueryRow(t.Context(), `select id from kluis.workspace where slug = $1`, slug).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return "ws_" + strings.ReplaceAll(id.String(), "-", "")
}

// owner gives the role that owns everything in the database. Each database of the cluster has another.
func owner(t *testing.T, admin *pgx.Conn) (role string) {
	t.Helper()
	if err := admin.QueryRow(t.Context(), `select pg_get_userbyid(relowner) from pg_class where oid = 'kluis.workspace'::regclass`).Scan(&role); err != nil {
		t.Fatal(err)
	}
	return role
}
