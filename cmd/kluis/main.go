package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// version is set when the program is built: see the Makefile.
var version = "dev"

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	go endOn(cancel)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// endOn ends ctx at the first signal: requests that are under way finish, and the program ends by itself. A second signal ends the program at once, after
// it has stopped the private Postgres.
func endOn(cancel context.CancelFunc) {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP) // the terminal is closed
	}
	received := make(chan os.Signal, 2)
	signal.Notify(received, signals...)
	<-received
	cancel()
	<-received
	if err := private.giveUp(5 * time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "kluis:", err)
	}
	os.Exit(failure)
}

// Exit statuses.
const (
	success = 0
	failure = 1
	misuse  = 2
)

// program has every command with its flags. A setting is a flag or an environment variable.
type program struct {
	Serve        serve        `cmd:"" help:"Serve the HTTP API, and do the work of the background."`
	Doctor       doctor       `cmd:"" help:"Check everything that serve would use, with the settings of serve, and say what is wrong and what to do. Changes nothing."`
	Migrate      migrate      `cmd:"" help:"Migrate the database to the schema of this program (serve does so too)."`
	Workspace    workspace    `cmd:"" help:"List, show, move, close or erase workspaces, and set their plans."`
	Member       member       `cmd:"" help:"Help a workspace whose only admin is locked out, has lost the device, or has left."`
	Replay       replay       `cmd:"" help:"Print the log of a workspace, one record on a line, the oldest first."`
	Verify       verify       `cmd:"" help:"Check that no record of a log was changed, removed, added or moved, and that the read models follow from the log."`
	LogList      logList      `cmd:"" name:"log-list" help:"Print the logs of all workspaces with their verifier keys, for witnesses, with the settings of serve."`
	Analyst      analyst      `cmd:"" help:"Manage the database logins with which analysts query one workspace in SQL."`
	Retention    retention    `cmd:"" help:"Prune the logs: delete the records that are older than the plans of the workspaces say, as serve does each night."`
	Rebuild      rebuild      `cmd:"" help:"Derive the read models of a workspace again from its log, while it is in use."`
	Backup       backup       `cmd:"" help:"Write a backup of everything but the keys into a folder, while Kluis serves."`
	Restore      restore      `cmd:"" help:"Put a backup back into an empty database, and do what restored does."`
	Subprocessor subprocessor `cmd:"" help:"Manage the list of companies that process data for the operator of Kluis. Admins of workspaces are told thirty days before a change."`
	SecurityPack securityPack `cmd:"" name:"security-pack" help:"List the people who asked for documents about the protection of personal data."`
	Restored     restored     `cmd:"" help:"Run this once after a backup was put back by other means, before serve: a new epoch of every log begins, and the sessions, API tokens, codes and mails of the backup end."`
	Keys         keys         `cmd:"" help:"Make, rotate and count the keys that encrypt data in the database."`
	Import       importFile   `cmd:"" help:"Import the export of another tracker, through a running server, or an export of Kluis. Run again, it imports nothing twice."`
	Demo         demo         `cmd:"" help:"Import a file of actions into a running server, as the workspaces and people in the file, and count the result."`
	Version      printer      `cmd:"" help:"Print the version."`
}

// outputs is where commands write.
type outputs struct {
	stdout, stderr io.Writer
}

// run is the program without its process, and gives the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	stdout, stderr = shown(stdout), shown(stderr)
	status := -1 // until kong asks to end, after --help
	var p program
	parser, err := kong.New(&p,
		kong.Name("kluis"),
		kong.Description("The boring kind of safe: a self-hosted, event-sourced backend for work management."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { status = code }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "kluis:", err)
		return failure
	}
	if len(args) > 0 && args[0] == "help" {
		args = append(args[1:len(args):len(args)], "--help")
	}
	command, err := parser.Parse(args)
	if status >= 0 {
		return status
	}
	if err != nil {
		fmt.Fprintf(stderr, "kluis: %v (see %s --help)\n", err, usedWrongly(err))
		return misuse
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err = checkEnvironment(parser.Model, os.Environ(), stderr); err == nil {
		err = command.Run(outputs{stdout, stderr})
	}
	switch {
	case err == nil:
		return success
	case errors.As(err, new(usageError)):
		fmt.Fprintln(stderr, "kluis:", err)
		return misuse
	default:
		fmt.Fprintln(stderr, "kluis:", err)
		return failure
	}
}

// usedWrongly gives the command whose use was wrong, as far as the error names one.
func usedWrongly(err error) string {
	var wrong *kong.ParseError
	name := "kluis"
	if errors.As(err, &wrong) && wrong.Context != nil {
		for _, step := range wrong.Context.Path {
			if step.Command != nil {
				name = step.Command.FullPath()
			}
		}
	}
	return name
}

// usageError is a wrong use that the parser did not find.
type usageError struct{ error }

type printer struct{}

func (printer) Run(out outputs) error {
	_, err := fmt.Fprintln(out.stdout, "kluis", version)
	return err
}
