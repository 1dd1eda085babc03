// Kveld's few moving parts. No library, no request of its own; what is typed into a form stays in the page.
"use strict";

const LAMPS = {
  ida: { name: "Ida", kind: "Table lamp", price: 248, note: "A soft pool of light for the table you never quite clear.", text: "Ida is the lamp we made first and still make most. A blown shell of opal glass sits on a turned stem, held by one brass knob. Loosen it and the whole lamp comes apart in your hands, which is the point: everything in it can be mended." },
  alva: { name: "Alva", kind: "Pendant", price: 312, note: "Hangs low over dinner and keeps the rest of the room calm.", text: "Alva is spun from one sheet of aluminium and hangs best a forearm above the table. The rim hides the bulb from everyone who is seated, so you see faces and plates instead of glare. Inside, the shade is painted a warm white, by hand." },
  nils: { name: "Nils", kind: "Floor lamp", price: 436, note: "Leans in over a shoulder, like someone reading along.", text: "Nils stands behind a chair and looks over your shoulder. The arm turns in a brass joint that needs no screw, and stays where you leave it. The foot is cast iron and heavier than it looks, so that cats and children may come and go." },
  sol: { name: "Sol", kind: "Wall lamp", price: 198, note: "A disc of brass that lights the wall and not your eyes.", text: "Sol throws its light at the wall and lets the wall do the rest. Turn the disc to make the ring of light wider or narrower, from a stairway's glimmer to enough for a book. The brass is not lacquered, and grows darker where you touch it." },
  liten: { name: "Liten", kind: "Lantern", price: 129, note: "Forty hours on one charge, for terraces and power cuts.", text: "Liten goes where there is no socket: the jetty, the tent, the far end of the garden. One charge lasts forty hours at reading brightness and two weeks as a night light. The battery is a common size, and you can change it with a coin." },
  berg: { name: "Berg", kind: "Table lamp", price: 274, note: "A globe on a beach stone. No two feet are the same.", text: "Each Berg stands on a stone from the beach below our workshop, sawn flat, drilled once and otherwise left alone. No two are the same, so yours will differ a little from the picture. The globe is mouth-blown and held by a ring of brass." },
};
const SIZES = { small: 0, medium: 60, large: 140 };
const BAG = "kveld-bag";
const euros = (amount) => `€ ${amount.toLocaleString("en-GB")}`;
const one = (selector) => document.querySelector(selector);

/** The bag: [{lamp, size, amount}]. Nothing saved yet means two lamps to look around with. */
function readBag() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(BAG));
    if (Array.isArray(saved)) return saved.filter((item) => LAMPS[item.lamp] && item.size in SIZES && item.amount > 0);
  } catch {
    // A browser that keeps nothing shows the bag it starts with.
  }
  return [{ lamp: "ida", size: "small", amount: 1 }, { lamp: "liten", size: "small", amount: 2 }];
}

function writeBag(bag) {
  try {
    sessionStorage.setItem(BAG, JSON.stringify(bag));
  } catch {
    // Then the bag lasts as long as the page.
  }
  showCount(bag);
}

function showCount(bag) {
  const count = bag.reduce((sum, item) => sum + item.amount, 0);
  one(".bag-count").textContent = String(count);
  one(".bag-count + .seen").textContent = count === 1 ? " lamp" : " lamps";
}

/** The link to this page's heatmap: the phone's layout is a screen of its own. */
function followLayout() {
  const narrow = matchMedia("(max-width: 699.98px)");
  const link = one("#see-heatmap");
  const update = () => {
    const screen = location.pathname + (narrow.matches ? "@under-700" : "");
    link.href = `/c/demo/map?screen=${encodeURIComponent(screen)}`;
  };
  narrow.addEventListener("change", update);
  update();
}

function menu() {
  const button = one("#menu");
  button.addEventListener("click", () => {
    const open = one("#nav").classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
  });
}

function letter() {
  const form = one("#letter-form");
  if (!form) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    one("#letter-thanks").textContent = "Thank you. As this is a demo, no letter will come.";
    form.reset();
  });
}

function product() {
  const form = one("#buy");
  if (!form) return;
  const asked = new URLSearchParams(location.search).get("lamp");
  const id = LAMPS[asked] ? asked : "ida";
  const lamp = LAMPS[id];
  if (id !== "ida") {
    document.title = `${lamp.name} · Kveld`;
    for (const part of ["name", "kind", "note", "text"]) one(`#lamp-${part}`).textContent = lamp[part];
    one("#crumb").textContent = lamp.name;
    one("#picture").src = one("#thumb-1 img").src = `/demo/img/${id}.svg`;
    one("#picture").alt = `${lamp.name}, lit`;
  }
  const size = () => form.elements.size.value;
  const show = () => {
    one("#price").textContent = euros(lamp.price + SIZES[size()]);
    one("#cord-name").textContent = form.elements.cord.value;
  };
  form.addEventListener("change", show);
  show();

  for (const thumb of document.querySelectorAll(".thumbs button")) {
    thumb.addEventListener("click", () => {
      for (const other of document.querySelectorAll(".thumbs button")) other.setAttribute("aria-pressed", String(other === thumb));
      one("#picture").src = thumb.querySelector("img").src;
      one("#picture").alt = thumb.querySelector("img").alt;
    });
  }
  const amount = one("#amount");
  const step = (by) => () => { amount.value = String(Math.min(9, Math.max(1, Number(amount.value) + by))); };
  one("#less").addEventListener("click", step(-1));
  one("#plus").addEventListener("click", step(1));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bag = readBag();
    const same = bag.find((item) => item.lamp === id && item.size === size());
    if (same) same.amount += Number(amount.value);
    else bag.push({ lamp: id, size: size(), amount: Number(amount.value) });
    writeBag(bag);
    one("#added").hidden = false;
    one("#added-what").textContent = `${lamp.name} is in your bag.`;
  });
}

function itemRow(item, index, changed) {
  const lamp = LAMPS[item.lamp];
  const row = document.createElement("li");
  const picture = Object.assign(document.createElement("img"), { src: `/demo/img/${item.lamp}.svg`, alt: "" });
  const words = document.createElement("div");
  const name = Object.assign(document.createElement("b"), { textContent: lamp.name });
  const size = item.size[0].toUpperCase() + item.size.slice(1);
  const note = Object.assign(document.createElement("div"), { className: "small", textContent: `${size}, ${item.amount} ×` });
  const remove = Object.assign(document.createElement("button"), { type: "button", id: `remove-${index + 1}`, textContent: "Remove" });
  remove.setAttribute("aria-label", `Remove ${lamp.name}`);
  remove.addEventListener("click", () => changed(index));
  words.append(name, note, remove);
  const cost = Object.assign(document.createElement("span"), { className: "cost", textContent: euros((lamp.price + SIZES[item.size]) * item.amount) });
  row.append(picture, words, cost);
  return row;
}

function checkout() {
  const form = one("#checkout");
  if (!form) return;
  const show = () => {
    const bag = readBag();
    const list = one("#items");
    const removed = (index) => {
      writeBag(bag.filter((_, place) => place !== index));
      show();
      one(".summary").focus();
    };
    list.replaceChildren(...bag.map((item, index) => itemRow(item, index, removed)));
    if (bag.length === 0) list.append(Object.assign(document.createElement("li"), { className: "empty", textContent: "Nothing here yet. The evening is long." }));
    const goods = bag.reduce((sum, item) => sum + (LAMPS[item.lamp].price + SIZES[item.size]) * item.amount, 0);
    const delivery = form.elements.delivery.value === "courier" && goods ? 12 : 0;
    one("#goods").textContent = euros(goods);
    one("#delivery").textContent = delivery ? euros(delivery) : "Free";
    one("#total").textContent = one("#toggle-total").textContent = euros(goods + delivery);
  };
  one("#summary-toggle").addEventListener("click", (event) => {
    const open = one(".summary").classList.toggle("open");
    event.currentTarget.setAttribute("aria-expanded", String(open));
  });
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    one("#placed").textContent = "Thank you. This is a demo: nothing was ordered, and what you typed never left this page.";
  });
  show();
}

showCount(readBag());
followLayout();
menu();
letter();
product();
checkout();
