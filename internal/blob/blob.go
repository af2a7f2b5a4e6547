// Package blob keeps bytes that are too many for the database: in a directory, or in S3.
//
//	blob.go       what a store is, and the URL that names one
//	kind.go       what keys there are
//	directory.go  blobs as files
//	s3.go         blobs as objects of a bucket
//	seal.go       how a blob is encrypted
//
// A key is for instance "<workspace id>/<attachment id>". No key has a name that a person gave.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Store keeps blobs. An error other than ErrMissing and those of the callbacks says that the store cannot be used at the moment.
type Store interface {
	// Put stores what write writes. When Put returns nil, the blob is whole and durable. When write fails, when ctx ends, or when the
	// process is killed, there is nothing under the key.
	Put(ctx context.Context, key string, write func(io.Writer) error) error
	// Open opens a blob, which can be read until ctx ends. The error is ErrMissing when there is none.
	Open(ctx context.Context, key string) (Blob, error)
	// Delete deletes a blob. When there is none, that is no error.
	Delete(ctx context.Context, key string) error
	// List calls each for every blob whose key begins with folder and a slash, in constant memory.
	List(ctx context.Context, folder string, each func(Item) error) error
	// Purge deletes everything whose key begins with folder and a slash: blobs, all of their versions where the store keeps versions, and
	// what was begun and never became a blob. It returns their number. When it returns nil, nothing is left that was there when it began.
	Purge(ctx context.Context, folder string) (int, error)
	// Sweep deletes what was begun before a moment and never became a blob. It returns the number.
	Sweep(ctx context.Context, before time.Time) (int, error)
	// Ping tells whether the store can be used.
	Ping(ctx context.Context) error
}

// Blob is the bytes of a key. A read is cheap where the last one ended. One goroutine reads at a time.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Item is a blob in a list.
type Item struct {
	Key      string
	Size     int64
	Modified time.Time // by the clock of the store
}

// ErrMissing says that there is no blob with this key.
var ErrMissing = errors.New("there is no such blob")

// ErrURL says that a URL names no store.
var ErrURL = errors.New("expected a URL such as file:///folder or s3://bucket?endpoint=https://s3.example.org&region=be")

// Open opens the store that a URL names: file:///folder, or s3://bucket with the parameters endpoint and region and those of
// [gocloud.dev/blob/s3blob.URLOpener]. Credentials for S3 come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...), and
// never from the URL. Open asks nothing of the store. The error wraps ErrURL when the URL is wrong.
func Open(ctx context.Context, address string) (Store, error) {
	u, err := parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "s3" {
		return openBucket(ctx, u)
	}
	return openDirectory(u.Path)
}

// Check tells whether a URL names a store, and makes nothing. The error wraps ErrURL.
func Check(ctx context.Context, address string) error {
	u, err := parse(address)
	if err == nil && u.Scheme == "s3" {
		_, err = openBucket(ctx, u)
	}
	return err
}

func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.Fragment != "": // the parser's error could show a password
		return nil, ErrURL
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.RawQuery == "",
		u.Scheme == "s3" && u.Host != "" && (u.Path == "" || u.Path == "/"):
		return u, nil
	}
	return nil, ErrURL
}

var keyForm = regexp.MustCompile(`^[0-9a-z-]+/[0-9a-z-]+$`)

// checkKey refuses a key that no kind can have, whatever the store would make of it.
func checkKey(key string) error {
	if !keyForm.MatchString(key) {
		return fmt.Errorf("blob: %q is no key", key)
	}
	return nil
}
