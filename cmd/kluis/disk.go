package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kluis-eu/kluis/internal/telemetry"
)

// disk is a folder on this machine that Kluis writes to. An external database or bucket is monitored where it runs.
type disk struct{ of, folder string }

// disks gives the folders on this machine that a cell writes to.
func (c cell) disks() (all []disk) {
	if c.DatabaseURL == "" {
		all = append(all, disk{"database", c.postgresFolder()})
	}
	blobs, err := c.blobURL(c.Data)
	for of, address := range map[string]string{"blobs": blobs, "checkpoints": c.Checkpoints} {
		if u, wrong := url.Parse(address); err == nil && wrong == nil && u.Scheme == "file" {
			all = append(all, disk{of, u.Path})
		}
	}
	return all
}

// room gives the size of the file system of a folder, and how much of it is free for users other than root, in bytes.
func (d disk) room() (free, size uint64, err error) {
	var s syscall.Statfs_t
	folder := d.folder
	for err = syscall.Statfs(folder, &s); errors.Is(err, fs.ErrNotExist) && filepath.Dir(folder) != folder; err = syscall.Statfs(folder, &s) {
		folder = filepath.Dir(folder) // the folder is made with its first file
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), err
}

// ofDisks gives the disks of a cell to a scrape of the metrics.
func (c cell) ofDisks() telemetry.Source {
	return telemetry.Source{Gauges: func(context.Context) (found []telemetry.Gauge, err error) {
		for _, d := range c.disks() {
			free, size, err := d.room()
			if err != nil {
				continue // a write there fails, and is logged
			}
			labels := prometheus.Labels{"place": d.of}
			found = append(found,
				telemetry.Gauge{Name: "kluis_disk_free_bytes", Help: "Free on the disks of this machine that Kluis writes to.", Labels: labels, Value: float64(free)},
				telemetry.Gauge{Name: "kluis_disk_size_bytes", Help: "The size of these disks.", Labels: labels, Value: float64(size)})
		}
		return found, nil
	}}
}

const (
	tooFull    = 1 << 30 // bytes that are free, or fewer
	nearlyFull = 10      // per cent that are free, or fewer
)

// disk checks all disks of the cell. A disk that is getting full is worth a note. A disk that is nearly full is bad.
func (p patient) disk(context.Context) finding {
	found := fine("Kluis writes to no disk of this machine")
	var says []string
	for _, d := range p.cell.disks() {
		free, size, err := d.room()
		if err != nil {
			return broken(fmt.Errorf("%s: %w", d.folder, err), "")
		}
		says = append(says, fmt.Sprintf("%s: %d of %d MiB are free", d.of, free>>20, size>>20))
		switch {
		case free < tooFull:
			found.grade, found.do = bad, "make room: on a full disk nothing can be written, and commands are answered with 503"
		case free*100 < size*nearlyFull && found.grade == good:
			found.grade, found.do = note, "less than a tenth is free: make room before the disk is full"
		}
	}
	if len(says) > 0 {
		found.says = strings.Join(says, "; ")
	}
	return found
}
