package main

import (
	"context"
	"os"
	"path/filepath"

	play "github.com/kluis-eu/kluis/cmd/demo"
)

// demo is `kluis demo [FILE]`.
type demo struct {
	File    string `arg:"" optional:"" help:"Actions to play, one JSON object on a line; - for standard input; default: a small built-in sample."`
	URL     string `default:"http://127.0.0.1:8080" env:"KLUIS_PUBLIC_URL" help:"The running server."`
	Data    string `env:"KLUIS_DATA" default:"./data" help:"The data folder of the server, for the codes in its outgoing mails."`
	Mail    string `placeholder:"DIR" help:"The folder of the outgoing mails; default: mail in --data."`
	Workers int    `default:"8" help:"How many requests, and imports, are under way at once."`
	Allow   bool   `name:"allow-refusals" help:"Exit with status 0 although some lines cannot be imported. They are listed all the same."`
}

func (d demo) Run(ctx context.Context, out outputs) error {
	if d.Mail == "" {
		d.Mail = filepath.Join(d.Data, "mail")
	}
	_, err := play.Run(ctx, play.Options{URL: d.URL, File: d.File, In: os.Stdin, Mail: d.Mail, Out: out.stdout, Workers: d.Workers, Rejects: d.Allow})
	return err
}
