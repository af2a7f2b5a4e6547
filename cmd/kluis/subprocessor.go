package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/projections"
)

// subprocessor is `kluis subprocessor add|remove|list`. Every region has the same list.
type subprocessor struct {
	Add    subprocessorAdd    `cmd:"" help:"Add a company to the list, or change its entry. The admins of all workspaces get a mail."`
	Remove subprocessorRemove `cmd:"" help:"Remove a company from the list."`
	List   subprocessorList   `cmd:"" help:"Show the current list, and every version of it."`
}

type subprocessorAdd struct {
	settings
	Name      string `arg:"" help:"The name of the company."`
	Purpose   string `required:"" help:"What the company does, such as: servers."`
	Country   string `required:"" help:"The country where it does so (ISO 3166-1 alpha-2), such as BE."`
	What      string `name:"gets" required:"" help:"Which data the company gets, such as: all, encrypted at rest."`
	Safeguard string `help:"What protects data outside of the European Economic Area, such as: standard contractual clauses of 2021."`
	Effective string `name:"from" placeholder:"DATE" help:"The first day; default: in thirty days, or today when there is no workspace."`
	Agreed    bool   `help:"The workspaces know the company from their contracts, so nobody gets a mail."`
}

func (s subprocessorAdd) Run(ctx context.Context, out outputs) error {
	return s.change(ctx, out, domain.SubprocessorChange{Agreed: s.Agreed, Effective: domain.Date(s.Effective), Subprocessor: domain.Subprocessor{
		Name: s.Name, Purpose: s.Purpose, Country: s.Country, Data: s.What, Safeguard: s.Safeguard}})
}

type subprocessorRemove struct {
	settings
	Name      string `arg:"" help:"The name of the company, as in the list."`
	Effective string `name:"from" placeholder:"DATE" help:"The first day without the company; default: today."`
}

func (s subprocessorRemove) Run(ctx context.Context, out outputs) error {
	return s.change(ctx, out, domain.SubprocessorChange{Removed: true, Effective: domain.Date(s.Effective), Subprocessor: domain.Subprocessor{Name: s.Name}})
}

func (s settings) change(ctx context.Context, out outputs, c domain.SubprocessorChange) error {
	return s.each(ctx, outside{}, func(in cell) error {
		b, keys, err := in.openKeyed(ctx, out)
		if err != nil {
			return err
		}
		defer b.close()
		made, err := b.Commands(ctx, commands.Needs{Keys: keys}, nil)
		if err != nil {
			return err
		}
		done, told, err := commands.ChangeSubprocessors(ctx, b.DB, c)
		if refusal, is := domain.Refusal(err); is && len(refusal.Fields) > 0 {
			return usageError{fmt.Errorf("--%s %s", flagOf(refusal.Fields[0].Pointer), refusal.Fields[0].Detail)}
		}
		if err != nil {
			return err
		}
		if err := made.TellSubprocessors(ctx); err != nil {
			fmt.Fprintf(out.stderr, "some admins are told later, by kluis serve: %v\n", err)
		}
		_, err = fmt.Fprintf(out.stdout, "version %d of the list, from %s on; the admins of %d workspaces get a mail\n", done.Version, done.Effective, told)
		return err
	})
}

// flagOf gives the flag for a field of the refusal.
func flagOf(pointer string) string {
	switch pointer {
	case "/effective":
		return "from"
	case "/data":
		return "gets"
	}
	return strings.TrimPrefix(pointer, "/")
}

type subprocessorList struct{ settings }

func (s subprocessorList) Run(ctx context.Context, out outputs) error {
	return s.eachBase(ctx, out, func(_ cell, b *base) error {
		var changes []domain.SubprocessorChange
		today, err := b.DB.Now(ctx)
		if err != nil {
			return err
		}
		err = b.DB.Control(ctx, func(tx pgx.Tx) error {
			changes, err = projections.SubprocessorChanges(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
		now := domain.SubprocessorsOn(domain.Day(today), changes)
		table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "VERSION\tFROM\tANNOUNCED\tCOMPANY\tCOUNTRY\tPURPOSE\tGETS\tSAFEGUARD")
		for _, c := range changes {
			name := c.Name
			if c.Removed {
				name += " (removed)"
			}
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Version, c.Effective, domain.Day(c.At), name, c.Country, c.Purpose, c.Data, c.Safeguard)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out.stdout, "%d companies get data today\n", len(now))
		return err
	})
}

// securityPack is `kluis security-pack`.
type securityPack struct{ settings }

func (s securityPack) Run(ctx context.Context, out outputs) error {
	keys, err := keyring.Load(s.keysFile(), s.KeysInline)
	if err != nil {
		return err
	}
	return s.eachBase(ctx, out, func(_ cell, b *base) error {
		made, err := b.Commands(ctx, commands.Needs{Keys: keys}, nil)
		if err != nil {
			return err
		}
		packs, err := made.Packs(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ASKED\tNAME\tADDRESS\tCOMPANY\tDOCUMENTS")
		for _, p := range packs {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", p.At.UTC().Format(time.RFC3339), p.Name, p.Email, p.Company, strings.Join(p.Documents, " "))
		}
		return table.Flush()
	})
}
