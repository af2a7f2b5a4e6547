package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/kluis-eu/kluis/internal/tenancy"
)

// analyst is `kluis analyst grant|list|revoke`: logins of Postgres for people and tools that query one workspace in SQL.
type analyst struct {
	Grant  analystGrant  `cmd:"" help:"Make a database login that reads the views of one workspace and nothing else. Its URL, which has the password, is printed once."`
	List   analystList   `cmd:"" help:"List the analysts' logins."`
	Revoke analystRevoke `cmd:"" help:"Drop a login. Its open sessions cannot read any more."`
}

type analystGrant struct {
	settings
	Name      string `default:"analyst" help:"The purpose of the login, such as a team or a tool: 1 to 16 characters of a to z and 0 to 9."`
	Days      int    `default:"365" help:"How many days the password is valid."`
	Workspace string `arg:"" help:"The workspace."`
}

func (g analystGrant) Run(ctx context.Context, out outputs) error {
	if g.Days < 1 || g.Days > 3650 {
		return usageError{errors.New("--days is 1 to 3650")}
	}
	b, _, err := g.openWorkspace(ctx, out, g.Workspace)
	if err != nil {
		return err
	}
	defer b.close()
	now, err := b.DB.Now(ctx)
	if err != nil {
		return err
	}
	until := now.AddDate(0, 0, g.Days)
	login, password, err := b.Tenancy.GrantAnalyst(ctx, g.Workspace, g.Name, until)
	if errors.Is(err, tenancy.ErrAnalystName) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	address, err := b.addressOf(login, password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s\n", address)
	fmt.Fprintf(out.stderr, "This URL is shown once. Its login reads the views of %s (see docs/analytics.md) until %s, or until kluis analyst revoke %s.\n",
		g.Workspace, until.UTC().Format(time.DateOnly), login)
	return err
}

// addressOf gives the URL of the database for a login, in the form that psql accepts.
func (b *base) addressOf(login, password string) (*url.URL, error) {
	address, err := url.Parse(b.url)
	if err != nil {
		return nil, errors.New("the database's URL cannot be parsed") // the parser's error would show the password
	}
	address.User = url.UserPassword(login, password)
	address.RawQuery = forLibpq(address.Query()).Encode()
	return address, nil
}

type analystList struct{ settings }

func (l analystList) Run(ctx context.Context, out outputs) error {
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WORKSPACE\tLOGIN\tUNTIL\tSTATUS")
	err := l.eachBase(ctx, out, func(_ cell, b *base) error {
		analysts, err := b.Tenancy.Analysts(ctx)
		for _, a := range analysts {
			status := "open"
			if !a.Open {
				status = "closed" // with its workspace, or half revoked
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", a.Workspace, a.Login, a.Until.UTC().Format(time.DateOnly), status)
		}
		return err
	})
	return errors.Join(err, table.Flush())
}

type analystRevoke struct {
	settings
	Login string `arg:"" help:"The login, as kluis analyst list shows it."`
}

func (r analystRevoke) Run(ctx context.Context, out outputs) error {
	revoked := false
	err := r.eachBase(ctx, out, func(_ cell, b *base) error {
		err := b.Tenancy.RevokeAnalyst(ctx, r.Login)
		revoked = revoked || err == nil
		return err
	})
	if err != nil && !revoked { // one cell has the login, and the others do not know it
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s is revoked\n", r.Login)
	return err
}
