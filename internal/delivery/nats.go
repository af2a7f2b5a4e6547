package delivery

import (
	"context"
	"crypto/tls"
	"strings"

	watermillnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// jetStream publishes each event to "<subject>.<type>". A stream of JetStream, which is not made here, must take the subject. The id of
// an event is its Nats-Msg-Id, by which the stream drops what comes twice within its duplicate window.
type jetStream struct {
	target    Target
	address   string
	dialer    dialer
	config    *tls.Config
	publisher *watermillnats.Publisher // nil while there is no connection
}

// Send connects when there is no connection, and once more when the one from before turns out to be dead.
func (n *jetStream) Send(ctx context.Context, events []Event) (taken int, err error) {
	if n.publisher != nil {
		if taken, err = n.publish(ctx, events); taken > 0 || err == nil || ctx.Err() != nil {
			return taken, err
		}
	}
	if err := n.connect(); err != nil {
		return 0, err
	}
	return n.publish(ctx, events)
}

func (n *jetStream) publish(ctx context.Context, events []Event) (taken int, err error) {
	taken, err = each(ctx, n.dialer.patience, events, func(ctx context.Context, e Event) error {
		stop := context.AfterFunc(ctx, n.Close) // the only way to end a call of the library
		defer stop()
		return n.publisher.Publish(n.target.Subject+"."+e.Type, message.NewMessage(e.ID, e.Line))
	})
	if err != nil {
		n.Close()
		n.publisher = nil
	}
	return taken, err
}

func (n *jetStream) connect() error {
	options := []nats.Option{nats.Name("Kluis"), nats.SetCustomDialer(natsDialer{n.dialer, n.config}), nats.SkipHostLookup(), nats.IgnoreDiscoveredServers(),
		nats.NoReconnect(), nats.Timeout(n.dialer.patience), nats.NoCallbacksAfterClientClose()}
	scheme := "nats://"
	if n.dialer.encrypted {
		scheme = "tls://"
		options = append(options, nats.Secure(n.config))
	}
	switch user, password, pair := strings.Cut(n.target.Credentials, ":"); {
	case strings.Contains(n.target.Credentials, "-----BEGIN NATS USER JWT-----"):
		options = append(options, nats.UserCredentialBytes([]byte(n.target.Credentials)))
	case pair:
		options = append(options, nats.UserInfo(user, password))
	case n.target.Credentials != "":
		options = append(options, nats.Token(n.target.Credentials))
	}
	publisher, err := watermillnats.NewPublisher(watermillnats.PublisherConfig{URL: scheme + n.address, NatsOptions: options,
		JetStream: watermillnats.JetStreamConfig{TrackMsgId: true, ConnectOptions: []nats.JSOpt{nats.MaxWait(n.dialer.patience)}}}, nil)
	if err == nil {
		n.publisher = publisher
	}
	return err
}

func (n *jetStream) Close() {
	if n.publisher != nil {
		_ = n.publisher.Close()
	}
}
