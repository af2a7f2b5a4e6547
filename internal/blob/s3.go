package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
)

// bucket keeps blobs in a bucket of S3, or of a server with the same interface.
type bucket struct {
	name   string
	bucket *blob.Bucket
	client *s3.Client

	uploader *transfermanager.Client
}

func openBucket(ctx context.Context, u *url.URL) (Store, error) {
	q := u.Query()
	if q.Has("ssetype") || q.Has("kmskeyid") { // blobs are encrypted before they get there
		return nil, fmt.Errorf("%w: set ssetype and kmskeyid as the bucket's default", ErrURL)
	}
	if q.Has("endpoint") { // a server other than Amazon's: most know neither a host name for each bucket nor Amazon's newer checksums
		for name, value := range map[string]string{"use_path_style": "true", "request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"} {
			if !q.Has(name) {
				q.Set(name, value)
			}
		}
	}
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: q.Encode()}
	opened, err := (&s3blob.URLOpener{}).OpenBucketURL(ctx, &plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	b := &bucket{name: u.Host, bucket: opened}
	if !opened.As(&b.client) {
		return nil, errors.New("blob: the bucket has no client of S3")
	}
	b.uploader = newUploader(b.client)
	return b, nil
}

// A blob goes to S3 in parts. Each upload has partSize * (partsAtOnce + 2) bytes of them in memory. S3 takes 10,000 parts: 48 GiB.
const (
	partSize    = 5 << 20
	partsAtOnce = 1

	abortPatience = 10 * time.Second
)

// newUploader makes an uploader of the AWS SDK. That of gocloud.dev keeps three times as much in memory, and leaves the parts of a
// cancelled upload behind.
func newUploader(client *s3.Client) *transfermanager.Client {
	return transfermanager.New(uploads{client}, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency, o.FailTimeout = partSize, partSize, partsAtOnce, abortPatience
		o.RequestChecksumCalculation = client.Options().RequestChecksumCalculation
	})
}

// uploads is a client that waits for the answer to CreateMultipartUpload even when the caller's context ends: an upload whose id nobody
// has learned cannot be aborted.
type uploads struct{ *s3.Client }

func (u uploads) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, options ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
	defer cancel()
	return u.Client.CreateMultipartUpload(ctx, in, options...)
}

// Put writes in this order:
//
//  1. The bytes go to the parts of an upload, which is no object yet.
//  2. The upload is completed: from now on the blob is there.
//
// When write fails, or ctx ends, the upload is aborted. A process that is killed leaves an upload, which Sweep finds.
func (b *bucket) Put(ctx context.Context, key string, write func(io.Writer) error) error {
	if err := checkNew(key); err != nil {
		return err
	}
	from, to := io.Pipe()
	uploaded := make(chan error, 1)
	go func() {
		_, err := b.uploader.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &b.name, Key: &key, Body: from, ContentType: aws.String("application/octet-stream")})
		from.CloseWithError(err) // so that write fails, too
		uploaded <- err
	}()
	wrong := write(to)
	to.CloseWithError(wrong) // nil means the end of the bytes
	err := <-uploaded
	if wrong != nil {
		return wrong
	}
	if err != nil {
		return fmt.Errorf("write blob %s: %w", key, err)
	}
	return nil
}

func (b *bucket) Open(ctx context.Context, key string) (Blob, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	about, err := b.bucket.Attributes(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%s: %w", key, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	return &object{ctx: ctx, bucket: b.bucket, key: key, size: about.Size}, nil
}

// object is a blob of a bucket. The first read asks for everything from its offset on, and further reads go on in that answer. A read
// elsewhere asks anew.
type object struct {
	ctx    context.Context //nolint:containedctx // of the caller of Open, since ReadAt takes none
	bucket *blob.Bucket
	key    string
	size   int64

	answer *blob.Reader
	at     int64 // the offset of the next byte of the answer
}

func (o *object) Size() int64 { return o.size }

func (o *object) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset >= o.size {
		return 0, io.EOF
	}
	if o.answer == nil || o.at != offset {
		if err := o.Close(); err != nil {
			return 0, err
		}
		if o.answer, err = o.bucket.NewRangeReader(o.ctx, o.key, offset, -1, nil); err != nil {
			return 0, fmt.Errorf("read blob %s: %w", o.key, err)
		}
		o.at = offset
	}
	n, err = io.ReadFull(o.answer, p)
	o.at += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) && o.at == o.size {
		err = io.EOF
	}
	return n, err
}

// Close ends the answer that is being read.
func (o *object) Close() error {
	if o.answer == nil {
		return nil
	}
	err := o.answer.Close()
	o.answer = nil
	return err
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := b.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}

func (b *bucket) List(ctx context.Context, folder string, each func(Item) error) error {
	items := b.bucket.List(&blob.ListOptions{Prefix: folder + "/"})
	for {
		item, err := items.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list the blobs of %s: %w", folder, err)
		}
		if checkKey(item.Key) != nil { // not one of this program's
			continue
		}
		if err := each(Item{Key: item.Key, Size: item.Size, Modified: item.ModTime}); err != nil {
			return err
		}
	}
}

// Purge deletes all versions, and the markers of deleted blobs. A bucket without versions has one version of each blob.
func (b *bucket) Purge(ctx context.Context, folder string) (n int, err error) {
	prefix := folder + "/"
	uploads := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.name, Prefix: &prefix})
	for uploads.HasMorePages() {
		page, err := uploads.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("list unfinished uploads of %s: %w", folder, err)
		}
		for _, upload := range page.Uploads {
			if _, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: upload.Key, UploadId: upload.UploadId}); err != nil {
				return n, fmt.Errorf("abort the upload of blob %s: %w", aws.ToString(upload.Key), err)
			}
			n++
		}
	}
	pages := s3.NewListObjectVersionsPaginator(b.client, &s3.ListObjectVersionsInput{Bucket: &b.name, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("list the versions of the blobs of %s: %w", folder, err)
		}
		for _, v := range page.Versions {
			if err := b.deleteVersion(ctx, v.Key, v.VersionId); err != nil {
				return n, err
			}
			n++
		}
		for _, mark := range page.DeleteMarkers {
			if err := b.deleteVersion(ctx, mark.Key, mark.VersionId); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (b *bucket) deleteVersion(ctx context.Context, key, version *string) error {
	if aws.ToString(version) == "null" { // the bucket keeps no versions
		version = nil
	}
	if _, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: key, VersionId: version}); err != nil {
		return fmt.Errorf("delete blob %s: %w", aws.ToString(key), err)
	}
	return nil
}

// Sweep goes by when an upload was begun, because S3 does not say when its last part came.
func (b *bucket) Sweep(ctx context.Context, before time.Time) (swept int, err error) {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return swept, fmt.Errorf("list unfinished uploads: %w", err)
		}
		for _, upload := range page.Uploads {
			if checkKey(aws.ToString(upload.Key)) != nil || !aws.ToTime(upload.Initiated).Before(before) {
				continue
			}
			if _, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: upload.Key, UploadId: upload.UploadId}); err != nil {
				return swept, fmt.Errorf("abort the upload of blob %s: %w", aws.ToString(upload.Key), err)
			}
			swept++
		}
	}
	return swept, nil
}

// Ping tells whether the bucket exists and may be used.
func (b *bucket) Ping(ctx context.Context) error {
	there, err := b.bucket.IsAccessible(ctx)
	if err != nil {
		return fmt.Errorf("reach the bucket %s: %w", b.name, err)
	}
	if !there {
		return fmt.Errorf("there is no bucket %s, or these credentials may not use it", b.name)
	}
	return nil
}
