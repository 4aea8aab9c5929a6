-- book.lua: reads the pages of the book and joins them to one document. The introduction (docs/book/README.md) comes first, then the chapters in the
-- order of their numbers, then the appendices. Links between these pages become links within the document. Links to other files of the project become
-- their names, since the document is read without the project. Stops at a formula that pandoc cannot convert and at a link or image without a target;
-- prints the page, the line and the remedy.
local appendices = {'docs/glossary.md', 'docs/from_pytorch.md', 'docs/from_diffusion.md', 'docs/papers.md'}
local faults = 0

local function read_file(name)
  local file = assert(io.open(name))
  local text = file:read('a')
  file:close()
  return text
end

local function exists(name)
  local file = io.open(name)
  if file then file:close() end
  return file ~= nil
end

-- Returns the number of the first line of text that contains wanted. If wanted has several lines, its first line counts.
local function line_of(text, wanted)
  local at = text:find(wanted:match('[^\n]+') or wanted, 1, true)
  return at and select(2, text:sub(1, at):gsub('\n', '\n')) + 1 or '?'
end

local function fault(page, wanted, message)
  io.stderr:write(('%s:%s: %s\n'):format(page.name, line_of(page.text, wanted), message))
  faults = faults + 1
end

-- 'docs/book' and '../glossary.md' make 'docs/glossary.md'.
local function resolve(folder, target)
  local parts = {}
  for part in (folder .. '/' .. target):gmatch('[^/]+') do
    if part == '..' then table.remove(parts) elseif part ~= '.' then table.insert(parts, part) end
  end
  return table.concat(parts, '/')
end

local function page_names(chapters)
  local names = {'docs/book/README.md'}
  for name in chapters:gmatch('%S+') do table.insert(names, name) end
  for _, name in ipairs(appendices) do table.insert(names, name) end
  return names
end

-- A page with the document's identifiers of its headings: 'papers' of docs/papers.md itself, 'papers--the-engine' of its heading "The engine".
local function read_page(root, name)
  local text = read_file(root .. '/' .. name)
  local page = {name = name, text = text, folder = name:match('(.*)/'), id = name == 'docs/book/README.md' and 'book' or name:match('([^/]*)%.md$'), ids = {}}
  page.doc = pandoc.read(text, 'gfm+tex_math_dollars'):walk {
    Header = function(heading)
      local id = heading.level == 1 and page.id or page.id .. '--' .. heading.identifier
      page.ids[heading.identifier] = id
      heading.identifier = id
      return heading
    end}
  return page
end

local function name_appendix(page, letter)
  local title = page.doc.blocks[1].content
  title:insert(1, pandoc.Space())
  title:insert(1, pandoc.Str(letter .. '.'))
end

-- Replaces a link to a file outside the document by its text. Appends the file's name unless the text is code or the end of that name.
local function named_file(link, file)
  local text = pandoc.utils.stringify(link.content)
  local is_code = #link.content == 1 and link.content[1].t == 'Code'
  local says_it = file:sub(-#text) == text
  local shown = says_it and {pandoc.Code(text)} or link.content
  if not says_it and not is_code then
    shown:extend {pandoc.Str ' (', pandoc.Code(file), pandoc.Str ')'}
  end
  return pandoc.Span(shown, {class = 'file', title = file})
end

local function convert_link(root, pages, page, link)
  if link.target:match('^%a+:') then return link end
  local path, heading = link.target:match('^([^#]*)#?(.*)$')
  local file = path == '' and page.name or resolve(page.folder, path)
  local to = pages[file]
  if not to then
    if not exists(root .. '/' .. file) then fault(page, link.target, link.target .. ' does not exist: mend the link') end
    return named_file(link, file)
  end
  local id = heading == '' and to.id or to.ids[heading]
  if not id then fault(page, link.target, link.target .. ': ' .. file .. ' has no such heading: mend the link') end
  return pandoc.Link(link.content, '#' .. (id or ''))
end

-- Checks that pandoc has MathML for a formula; pandoc writes it later. A display formula and a long one get a box of
-- their own, which scrolls where the screen is narrow: browsers break no line within a formula.
-- \mathrm becomes \text: pandoc's MathML of it is letters in an <mstyle mathvariant>, which browsers ignore, so that the letters would be italic.
local function convert_math(page, math)
  local source = math.text
  math.text = source:gsub('\\mathrm{', '\\text{')
  local html = pandoc.write(pandoc.Pandoc {pandoc.Plain {math}}, 'html', pandoc.WriterOptions {html_math_method = 'mathml'})
  if not html:match('^<math') then
    fault(page, source, 'pandoc has no MathML for $' .. source .. '$: write it with other commands')
  end
  if math.mathtype == 'DisplayMath' then return pandoc.Span({math}, {class = 'formula'}) end
  return #source > 32 and pandoc.Span({math}, {class = 'long'}) or math
end

-- Inline code may break only if it is long, and only after characters that separate parts of a name: '/', '_', '.', ',', '(', '::' and spaces.
local function convert_code(code)
  local html = code.text:gsub('&', '&amp;'):gsub('<', '&lt;'):gsub('>', '&gt;')
  if #code.text > 16 then html = html:gsub('[/_.,( ]', '%0<wbr>'):gsub('::', '%0<wbr>') end
  return pandoc.RawInline('html', '<code>' .. html .. '</code>')
end

local function convert_page(root, pages, page)
  local with_links = page.doc:walk {
    Link = function(link) return convert_link(root, pages, page, link) end,
    Math = function(math) return convert_math(page, math) end,
    Image = function(image)
      local file = resolve(page.folder, image.src)
      if not exists(root .. '/' .. file) then fault(page, image.src, image.src .. ' does not exist: make the figure or mend its name') end
      image.src = root .. '/' .. file
      return image
    end,
    Table = function(tab) return pandoc.Div({tab}, {class = 'table'}) end}
  return with_links:walk {Code = convert_code}       -- afterwards, for links have become code
end

function Pandoc(doc)
  local root = pandoc.utils.stringify(doc.meta.root)
  local pages, blocks = {}, pandoc.List()
  local names = page_names(pandoc.utils.stringify(doc.meta.chapters))
  for _, name in ipairs(names) do pages[name] = read_page(root, name) end
  for i, name in ipairs(appendices) do name_appendix(pages[name], string.char(64 + i)) end
  for _, name in ipairs(names) do
    local converted = convert_page(root, pages, pages[name]).blocks
    if name == 'docs/book/README.md' then
      doc.meta.title = pandoc.MetaInlines(converted:remove(1).content)
    end
    blocks:extend(converted)
  end
  if faults > 0 then os.exit(1) end
  doc.meta.pagetitle = pandoc.utils.stringify(doc.meta.title)
  doc.meta.style = pandoc.MetaBlocks {pandoc.RawBlock('html', read_file(pandoc.utils.stringify(doc.meta.style)))}
  return pandoc.Pandoc(blocks, doc.meta)
end
