// Package pgx is as much of pgx as the cases need: the names of its parameters.
package pgx

import "context"

type Identifier []string

func (Identifier) Sanitize() string { return "" }

type Conn struct{}

func (*Conn) Exec(ctx context.Context, sql string, args ...any) error { return nil }

type Batch struct{}

func (*Batch) Queue(query string, args ...any) {}
