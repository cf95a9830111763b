"use strict";
// What the page can do with a script. Without one it has the same tables and lists. Names
// only ever become text: nothing here parses HTML.
(() => {
  const byID = id => document.getElementById(id)
  const make = (tag, properties = {}, ...children) => {
    const e = Object.assign(document.createElement(tag), properties)
    e.append(...children)
    return e
  }
  const count = (n, one, many) => `${n.toLocaleString("en-US")} ${n == 1 ? one : many}`

  // Long lists show their first entries, and a button for the rest.
  for (const list of document.querySelectorAll("[data-first]")) {
    const items = [...list.children]
    items.slice(+list.dataset.first).forEach(item => item.classList.add("more"))
    list.classList.add("short")
    const button = make("button", {type: "button", className: "all", textContent: `Show all ${items.length.toLocaleString("en-US")}`, onclick() {
      const short = list.classList.toggle("short")
      this.textContent = `Show ${short ? "all " + items.length.toLocaleString("en-US") : "fewer"}`
      this.setAttribute("aria-expanded", !short)
    }})
    button.setAttribute("aria-expanded", false)
    const after = list.closest(".scroll") || list
    after.after(button)
  }

  for (const list of document.querySelectorAll(".groups")) {
    list.before(make("button", {type: "button", className: "all", textContent: "Open all", onclick() {
      const open = this.textContent == "Open all"
      list.querySelectorAll("details").forEach(d => d.open = open)
      this.textContent = open ? "Close all" : "Open all"
    }}))
  }

  // Searching hides everything but the entries that contain the text.
  const query = byID("query"), found = byID("found")
  const items = [...document.querySelectorAll(".s")].map(item => ({item, section: item.closest("section")}))
  const kinds = [["groups", "group", "groups"], ["grew", "group", "groups"], ["gone", "group", "groups"], ["twins", "set of folders", "sets of folders"], ["folders", "folder", "folders"], ["problems", "problem", "problems"]]
  function search() {
    const text = query.value.trim().toLowerCase()
    document.body.classList.toggle("searching", text != "")
    const hits = new Map()
    for (const entry of items) {
      entry.text ??= [...entry.item.querySelectorAll("code, #problems td")].map(e => e.textContent).join("\n").toLowerCase()
      const hit = entry.text.includes(text)
      entry.item.hidden = !hit
      if (hit) hits.set(entry.section, (hits.get(entry.section) || 0) + 1)
    }
    for (const section of document.querySelectorAll("section")) section.hidden = text != "" && !hits.has(section)
    const parts = new Map()
    for (const [section, n] of hits) {
      const kind = kinds.find(([id]) => id == section.id)
      parts.set(kind[1], {n: (parts.get(kind[1])?.n || 0) + n, kind})
    }
    const told = [...parts.values()].map(({n, kind}) => count(n, kind[1], kind[2]))
    found.textContent = text == "" ? "" : told.length ? `Found in ${told.join(" and ")}.` : "Nothing that this page lists contains this."
  }
  byID("search").hidden = false
  query.oninput = search
  query.onkeydown = e => {
    if (e.key == "Escape") {
      query.value = ""
      search()
    }
  }
  function searchFor(text) {
    query.value = text
    search()
    query.focus()
    byID("search").scrollIntoView()
  }

  // The map draws the table of folders.
  const table = byID("tree")
  if (!table) return
  const folders = [...table.tBodies[0].rows].map(row => ({
    path: row.cells[0].textContent, size: row.cells[1].textContent, share: row.cells[2].textContent.trim(),
    own: +row.dataset.o, ownSize: row.cells[4].textContent, restSize: row.cells[5].textContent, saves: row.cells[6].textContent,
    bytes: +row.dataset.b, above: +row.dataset.p, below: [],
  }))
  for (const folder of folders) {
    folder.above = folders[folder.above]
    folder.above?.below.push(folder)
    const base = folder.above?.path.replace(/\/$/, "") + "/"
    folder.label = folder.path.startsWith(base) ? folder.path.slice(base.length) : folder.path
  }
  const map = byID("map"), crumbs = byID("crumbs"), detail = byID("detail")
  const least = 24 // pixels that a button must be wide and high
  let shown = folders[0]

  const apart = path => `\u2068${path}\u2069` // names that are read from right to left change only themselves
  const describe = f => `${apart(f.path)}: ${f.size} reclaimable, ${f.share} of all` + (f.saves == "–" ? "" : `, saves ${f.saves} a month`)

  // parts returns what a folder consists of, largest first.
  function parts(folder) {
    const all = folder.below.map(f => ({bytes: f.bytes, label: f.label, size: f.size, folder: f, about: describe(f)}))
    const rest = folder.bytes - folder.own - all.reduce((sum, part) => sum + part.bytes, 0)
    if (folder.own > 0) all.push({bytes: folder.own, label: "directly in it", size: folder.ownSize, about: `${apart(folder.path)}: ${folder.ownSize} in files directly in it`})
    if (rest > 0) all.push({bytes: rest, label: "folders not listed", size: folder.restSize, small: true, about: `${apart(folder.path)}: ${folder.restSize} in smaller folders that the table does not list`})
    return all.sort((a, b) => b.bytes - a.bytes)
  }

  function layout(all, width, height, gap) {
    const root = d3.hierarchy({all}, d => d.all).sum(d => d.bytes || 0)
    return d3.treemap().size([width, height]).paddingInner(gap).round(true)(root).leaves()
  }

  // fit lays parts out, and puts the smallest together until all can be hit.
  function fit(all, width, height) {
    const tiny = leaf => leaf.x1 - leaf.x0 < least || leaf.y1 - leaf.y0 < least
    for (let keep = all.length; ; keep = Math.min(keep - 1, Math.ceil(keep * .97))) {
      const some = all.slice(0, keep), few = all.slice(keep)
      if (few.length) some.push({bytes: few.reduce((sum, part) => sum + part.bytes, 0), label: "smaller: see the table", size: "", small: true, about: "Smaller folders: the table lists them"})
      const leaves = layout(some, width, height, 2)
      if (keep <= 1 || !leaves.some(leaf => tiny(leaf) && !(few.length && leaf.data.small))) return {leaves, tiny}
    }
  }

  function draw(focus) {
    const width = map.clientWidth, height = map.clientHeight
    if (!width) return
    const {leaves, tiny} = fit(parts(shown), width, height)
    const whole = shown.bytes
    const visible = leaves.filter(leaf => leaf.x1 > leaf.x0 && leaf.y1 > leaf.y0)
    map.replaceChildren(...visible.map(leaf => {
      const part = leaf.data, w = leaf.x1 - leaf.x0, h = leaf.y1 - leaf.y0
      const level = [.04, .1, .2, .4].filter(share => part.bytes / whole > share).length + 1
      const box = make(tiny(leaf) ? "div" : "button", {className: part.small ? "rest" : "l" + level}, make("b", {textContent: part.label}))
      if (h > 42 && part.size) box.append(make("span", {textContent: part.size}))
      else if (part.size) box.setAttribute("aria-label", `${part.label}, ${part.size}`)
      if (h < 34) box.classList.add("slim")
      if (h > 80 && (w <= 110 || !part.folder?.below.length)) box.classList.add("tall")
      Object.assign(box.style, {left: 100 * leaf.x0 / width + "%", top: 100 * leaf.y0 / height + "%", width: 100 * w / width + "%", height: 100 * h / height + "%"})
      if (part.folder?.below.length && w > 110 && h > 90) {
        for (const inner of layout(parts(part.folder).slice(0, 40), w - 16, h - 58, 2)) {
          const line = make("i")
          Object.assign(line.style, {left: inner.x0 + 7 + "px", top: inner.y0 + 48 + "px", width: inner.x1 - inner.x0 + "px", height: inner.y1 - inner.y0 + "px"})
          line.setAttribute("aria-hidden", true)
          box.append(line)
        }
      }
      if (box.tagName == "DIV") return box
      box.type = "button"
      box.tabIndex = -1
      box.part = part
      box.onclick = () => open(part)
      box.onfocus = box.onpointerenter = () => { detail.textContent = part.about }
      box.onpointerleave = () => { detail.textContent = (document.activeElement.part || {about: describe(shown)}).about }
      return box
    }))
    const buttons = [...map.querySelectorAll("button")]
    const at = buttons.find(b => focus && b.part.folder == focus) || buttons[0]
    if (at) at.tabIndex = 0
    detail.textContent = describe(shown)
    if (focus && at) at.focus()
    trail()
  }

  function trail() {
    const way = []
    for (let f = shown; f; f = f.above) way.unshift(f)
    crumbs.replaceChildren(...way.map(f => {
      if (f == shown) {
        const here = make("span", {textContent: f.label})
        here.setAttribute("aria-current", "true")
        return make("li", {}, here)
      }
      return make("li", {}, make("button", {type: "button", textContent: f.label, onclick: () => show(f, way[way.indexOf(f) + 1])}))
    }))
  }

  function show(folder, focus) {
    shown = folder
    draw(focus || {})
  }

  function open(part) {
    if (part.small) return table.closest(".scroll").focus()
    if (part.folder?.below.length) return show(part.folder)
    searchFor((part.folder || shown).path.replace(/\/$/, "") + "/")
  }

  // step returns the next box in a direction: the nearest, and preferably one beside.
  function step(from, key) {
    const a = from.getBoundingClientRect()
    const across = key == "ArrowLeft" || key == "ArrowRight"
    const sign = key == "ArrowLeft" || key == "ArrowUp" ? -1 : 1
    const middle = r => across ? [(r.left + r.right) / 2, (r.top + r.bottom) / 2] : [(r.top + r.bottom) / 2, (r.left + r.right) / 2]
    let best, distance = Infinity
    for (const box of map.querySelectorAll("button")) {
      const b = box.getBoundingClientRect()
      const ahead = across ? (sign < 0 ? a.left - b.right : b.left - a.right) : (sign < 0 ? a.top - b.bottom : b.top - a.bottom)
      if (box == from || ahead < -1) continue
      const d = Math.max(ahead, 0) + Math.abs(middle(b)[1] - middle(a)[1]) * 2 + Math.abs(middle(b)[0] - middle(a)[0]) * .1
      if (d < distance) [best, distance] = [box, d]
    }
    return best
  }

  map.onkeydown = e => {
    const buttons = [...map.querySelectorAll("button")]
    let next
    if (e.key.startsWith("Arrow")) next = step(e.target, e.key)
    else if (e.key == "Home") next = buttons[0]
    else if (e.key == "End") next = buttons.at(-1)
    else if ((e.key == "Escape" || e.key == "Backspace") && shown.above) show(shown.above, shown)
    else return
    e.preventDefault()
    if (!next) return
    buttons.forEach(b => b.tabIndex = -1)
    next.tabIndex = 0
    next.focus()
  }
  byID("treemap").hidden = false
  let width = 0
  new ResizeObserver(() => {
    if (map.clientWidth == width) return
    width = map.clientWidth
    draw(document.activeElement.part?.folder)
  }).observe(map)
})()
