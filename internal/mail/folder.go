package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// A folder is where mails go when there is no server, each as one file. The name has the time and the Message-ID, for instance
// 20261122T131415.123456789Z-0b5e...eml. A reader of the folder sees whole mails only.
type folder struct {
	dir string
	log *slog.Logger
}

func newFolder(dir string, log *slog.Logger) (folder, error) {
	if dir == "" {
		return folder{}, errors.New("mail: neither an SMTP server nor a folder for mails is set")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return folder{}, fmt.Errorf("folder for mails: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return folder{}, fmt.Errorf("folder for mails: %w", err)
	}
	return folder{dir: dir, log: log}, nil
}

// deliver writes the mail under another name, and renames it when it is on disk.
func (f folder) deliver(_ context.Context, msg *gomail.Msg) (err error) {
	temp, err := os.CreateTemp(f.dir, ".unfinished-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(temp.Name())
		}
	}()
	_, err = msg.WriteTo(temp)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(msg.GetMessageID(), "<"), "@")
	path := filepath.Join(f.dir, time.Now().UTC().Format("20060102T150405.000000000Z")+"-"+id+".eml")
	if err = os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	f.log.Info("mail written to a file, because no SMTP server is set", "path", path)
	return nil
}
