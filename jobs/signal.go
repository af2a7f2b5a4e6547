package jobs

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/kluis-eu/kluis/eventstore"
)

// follow handles signals until ctx ends.
func (j *Jobs) follow(ctx context.Context) error {
	log := watermill.NewSlogLoggerWithLevelMapping(j.Log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 2 * patience}, log)
	if err != nil {
		return fmt.Errorf("make the router: %w", err)
	}
	signals := eventstore.NewSignals(j.DB, j.Bell, j.Log)
	router.AddConsumerHandler("background", eventstore.SignalTopic, signals, j.handle)
	return router.Run(ctx)
}

// handle brings one workspace up to a signal. It may run again for the same signal, or twice at once: the
// checkpoint and the reaction row say what is done. Its error is logged by the router and makes it run again later.
func (j *Jobs) handle(m *message.Message) error {
	s, err := eventstore.ReadSignal(m)
	if err != nil {
		return err
	}
	if !j.NoCatchUp {
		mark, err := j.Views.CatchUp(m.Context(), s.Workspace)
		if err == nil && mark.Position < s.Position { // the end of the process came between two pages
			err = fmt.Errorf("the read models of workspace %s are at position %d of %d: %w", s.Workspace.ID, mark.Position, s.Position, context.Cause(m.Context()))
		}
		if err != nil {
			return err
		}
	}
	return j.react(m.Context(), s)
}
