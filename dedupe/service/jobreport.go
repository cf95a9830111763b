package service

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/report"
)

// forms are the media types of a stored report. The first is the default.
var forms = [...]struct {
	kind   string
	format report.Format
}{
	{"application/json", report.JSON},
	{"application/x-ndjson", report.NDJSON},
	{"text/csv", report.CSV},
}

func (s *service) jobReport(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Accept")
	kind, format, ok := acceptedForm(r.Header)
	if !ok {
		return refuse(http.StatusNotAcceptable, "a report is application/json, application/x-ndjson or text/csv: accept one of them")
	}
	limit, next, err := pageOf(r, 1000, maxLimit)
	if err != nil {
		return err
	}
	from, err := jobs.ParseCursor(next)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	j, state, err := s.job(r)
	switch {
	case err != nil:
		return err
	case !state.Done():
		return refuse(http.StatusConflict, "the job has not ended: ask again later").after(pollAfter)
	case state.Phase != jobs.Succeeded:
		return refuse(http.StatusNotFound, "the job has no report: %s", state.Failure.Detail)
	}
	body, after, err := s.Jobs.Registry.Page(r.Context(), j.Ref, format, from, limit, maxAnswer)
	switch {
	case errors.Is(err, report.ErrCursor):
		return refuse(http.StatusBadRequest, "%v", err)
	case err != nil:
		return jobRefusal(err)
	}
	if text := after.String(); text != "" {
		w.Header().Set("Link", fmt.Sprintf(`<%s?limit=%d&next=%s>; rel="next"`, r.URL.Path, limit, text))
	}
	return writeVersion(w, r, kind, ownOnly, body)
}

// acceptedForm returns the media type that a client likes best. It reads all Accept headers.
func acceptedForm(h http.Header) (kind string, f report.Format, ok bool) {
	weights := map[string]float64{}
	all := strings.Join(h.Values("Accept"), ",")
	for item := range strings.SplitSeq(all, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		weights[strings.ToLower(strings.TrimSpace(name))] = weight(parameters)
	}
	if strings.TrimSpace(all) == "" {
		weights = map[string]float64{"*/*": 1}
	}
	best := 0.0
	for _, form := range forms {
		family, _, _ := strings.Cut(form.kind, "/")
		for _, pattern := range []string{form.kind, family + "/*", "*/*"} { // the most exact one decides
			q, named := weights[pattern]
			if !named {
				continue
			}
			if q > best {
				best, kind, f = q, form.kind, form.format
			}
			break
		}
	}
	return kind, f, best > 0
}
