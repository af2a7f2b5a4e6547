package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/blob/blobtest"
)

// A purge takes away every blob of a folder and no other, and what was begun there: who is still writing ends without a blob.
func TestPurge(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		folder, other := uuid.NewString(), newKey()
		for range 3 {
			put(t, s, folder+"/"+uuid.NewString(), noise(1000))
		}
		put(t, s, other, noise(10))
		for range 2 { // the second time there is nothing
			if _, err := s.Purge(t.Context(), folder); err != nil {
				t.Fatal(err)
			}
		}
		if left := keys(t, s, folder); left != nil {
			t.Errorf("left: %v", left)
		}
		if left := keys(t, s, strings.Split(other, "/")[0]); len(left) != 1 {
			t.Errorf("of the other folder: %v", left)
		}
		if _, err := s.Purge(t.Context(), uuid.NewString()); err != nil {
			t.Errorf("of a folder that is not there: %v", err)
		}
	})
}

// Two processes may purge one folder at once, and a Delete may be faster for one of its blobs. A purge without an error has left nothing nevertheless.
func TestPurgeBesideAnother(t *testing.T) {
	t.Parallel()
	s, err := openDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		folder := uuid.NewString()
		for range 50 {
			put(t, s, folder+"/"+uuid.NewString(), noise(10))
		}
		var purges sync.WaitGroup
		for range 2 {
			purges.Go(func() {
				if _, err := s.Purge(t.Context(), folder); err != nil {
					t.Error(err)
				}
				if left := keys(t, s, folder); left != nil {
					t.Errorf("a purge has left %d blobs", len(left))
				}
			})
		}
		purges.Wait()
	}
}

// Of an upload under way the bytes that came go with the folder, and the blob does not come to be.
func TestPurgeOfAnUpload(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, err := Open(t.Context(), "file://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey()
	err = s.Put(t.Context(), key, func(w io.Writer) error {
		if _, err := w.Write(noise(1000)); err != nil {
			return err
		}
		n, err := s.Purge(t.Context(), strings.Split(key, "/")[0])
		if n != 1 {
			t.Errorf("%d purged, %v", n, err)
		}
		return err
	})
	if err == nil {
		t.Error("the upload was taken")
	}
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("there is still %s", path)
		}
		return err
	})
}

// In a bucket that keeps versions all of them go, and those of what was deleted before.
func TestPurgeOfVersions(t *testing.T) {
	t.Parallel()
	g := blobtest.Start(t)
	s, err := Open(t.Context(), g.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := s.(*bucket)
	if _, err := b.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &b.name,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	folder := uuid.NewString()
	written, deleted := folder+"/"+uuid.NewString(), folder+"/"+uuid.NewString()
	for range 3 {
		put(t, s, written, noise(100))
		put(t, s, deleted, noise(100))
	}
	if err := s.Delete(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	versions := func(ctx context.Context) int {
		prefix := folder + "/"
		page, err := b.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &b.name, Prefix: &prefix})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Versions) + len(page.DeleteMarkers)
	}
	if n := versions(t.Context()); n != 7 {
		t.Fatalf("there are %d versions, want 7: the gateway keeps none", n)
	}
	if n, err := s.Purge(t.Context(), folder); err != nil || n != 6 {
		t.Errorf("%d, %v", n, err)
	}
	if n := versions(t.Context()); n != 0 {
		t.Errorf("%d versions are left", n)
	}
	if _, err := s.Open(t.Context(), written); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
}
